// What gun's test/panic/util/open.js takes for puppeteer: the machine's own Chromium.
'use strict'

const puppeteer = require('puppeteer-core')

// holy-grail takes `new WebSocket('http://...')` for an error; since version 125 Chromium accepts it
function refuseHttp () {
  window.WebSocket = class extends window.WebSocket {
    constructor (url, ...rest) {
      if (/^http/.test(url)) throw new SyntaxError('a WebSocket URL starts with ws')
      super(url, ...rest)
    }
  }
}

// their page joins before it has loaded gun.js, which a busy machine lets them notice
function joinWhenLoaded () {
  let panic
  Object.defineProperty(window, 'panic', {
    get: () => panic,
    set (value) {
      panic = value
      const join = panic.server
      panic.server = (url) => { window.addEventListener('load', () => join.call(panic, url)) }
    },
  })
}

// PANIC takes a client that is gone for one that is done: a browser that dies must fail the run
function fail (reason) {
  console.error(reason)
  process.exit(3)
}

exports.launch = async () => {
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM,
    userDataDir: process.env.CHROMIUM_PROFILE,
    args: ['--no-sandbox', '--disable-gpu'],
  })
  const died = () => fail('the browser died')
  browser.on('disconnected', died)
  const newPage = async () => {
    // a window each: a hidden page of gun.js does not connect again
    const page = await browser.newPage({ type: 'window' })
    page.on('error', (error) => fail(`a page died: ${error.message}`))
    page.on('pageerror', (error) => console.error(`page error: ${error.message}`))
    await page.evaluateOnNewDocument(refuseHttp)
    await page.evaluateOnNewDocument(joinWhenLoaded)
    return page
  }
  const close = () => {
    browser.off('disconnected', died)
    return browser.close()
  }
  return { newPage, close }
}
