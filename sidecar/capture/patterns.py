"""The test pattern: a moving picture that carries a counter and a colour code a machine can read again.

    +------------------------------------------+
    | 16 cells: white black, then counter bits |  1/9 of the height
    | 16 cells: counter bits, then 8 check bits|  1/9
    | grey waves that move                     |  5/9
    | the colour code                          |  2/9
    +------------------------------------------+

The readers need nothing but the picture: they survive VP8 at 300 kbit/s and scaling down to 160x90, and
they answer None rather than guess (eight check bits, distance of the calibration cells).
"""

from __future__ import annotations

from sidecar.frames import Buffer, Picture, black

COLUMNS = 16
BITS = 22
COUNTER_LIMIT = 1 << BITS
"""The counter wraps here: 38 hours at 30 fps."""
_CHECK_BITS = 8
_BANDS = 9
_DARK, _BRIGHT = 16, 235
_MIN_CONTRAST = 60
"""Between the two calibration cells; less is not a pattern (limited range has 219)."""
_STEP = 4
"""Pixels the waves move per picture."""
_CHROMA_NOISE = 12
"""Distance from grey below which a picture has no colour code."""


class Pattern:
    """Draws pictures of one size; ``color`` is rrggbb."""

    def __init__(self, width: int = 640, height: int = 360, fps: float = 30.0, color: str = "3070c0") -> None:
        self.fps = fps
        self._width, self._height = width, height
        self._count = 0
        self._color_y, u, v = to_yuv(color)
        self._chroma = self._chroma_planes(u, v)
        self._period = max(2, width // 2)
        self._wave = self._make_wave()

    def picture(self, at: float) -> Picture:
        """The next picture; the counter counts pictures drawn, ``at`` is not needed."""
        picture = self.draw(self._count)
        self._count = (self._count + 1) % COUNTER_LIMIT
        return picture

    def draw(self, counter: int) -> Picture:
        """The picture that carries ``counter``."""
        width, height = self._width, self._height
        top, bottom = 2 * height // _BANDS, 7 * height // _BANDS
        offset = counter * _STEP % width
        luma = self._cells(counter)
        starts = (offset + row % self._period for row in range(top, bottom))
        luma += [self._wave[start : start + width] for start in starts]
        luma.append(bytes([self._color_y]) * (width * (height - bottom)))
        u, v = self._chroma
        return Picture(width, height, b"".join(luma), u, v, stride=width, chroma_stride=(width + 1) // 2)

    def close(self) -> None:
        """Nothing to free."""

    def _cells(self, counter: int) -> list[bytes]:
        bits = [1, 0, *_to_bits(counter, BITS), *_to_bits(_check(counter), _CHECK_BITS)]
        edges = [self._width * column // COLUMNS for column in range(COLUMNS + 1)]
        rows = []
        for band in range(2):
            cells = bits[band * COLUMNS : (band + 1) * COLUMNS]
            row = b"".join(
                bytes([_BRIGHT if bit else _DARK]) * (edges[i + 1] - edges[i]) for i, bit in enumerate(cells)
            )
            rows.append(row * ((band + 1) * self._height // _BANDS - band * self._height // _BANDS))
        return rows

    def _make_wave(self) -> bytes:
        """A triangle wave, long enough for any offset: each row shows a piece that starts further on."""
        period, length = self._period, 2 * self._width + self._period
        once = bytes(48 + abs(x - period // 2) * 240 // period for x in range(period))
        return (once * (length // period + 1))[:length]

    def _chroma_planes(self, u: int, v: int) -> tuple[bytes, bytes]:
        width, height = (self._width + 1) // 2, (self._height + 1) // 2
        plain = 7 * height // _BANDS
        grey = bytes([128]) * (width * plain)
        rest = width * (height - plain)
        return grey + bytes([u]) * rest, grey + bytes([v]) * rest


class Black:
    """Black pictures."""

    def __init__(self, width: int = 640, height: int = 360, fps: float = 30.0) -> None:
        self.fps = fps
        self._picture = black(width, height)

    def picture(self, at: float) -> Picture:
        """Always the same."""
        return self._picture

    def close(self) -> None:
        """Nothing to free."""


def read_counter(picture: Picture) -> int | None:
    """The counter drawn into ``picture``, None when it carries none or cannot be read safely."""
    values = [_luma(picture, column, band) for band in range(2) for column in range(COLUMNS)]
    bright, dark = values[0], values[1]
    if bright - dark < _MIN_CONTRAST:
        return None
    middle = (bright + dark) / 2
    bits = [value > middle for value in values[2:]]
    counter, check = _from_bits(bits[:BITS]), _from_bits(bits[BITS:])
    return counter if check == _check(counter) else None


def read_color(picture: Picture) -> str | None:
    """The colour code as rrggbb, as exact as the codec left it (see ``same_color``); None when grey."""
    if min(picture.width, picture.height) < 2 * _BANDS:
        return None
    left, right = picture.width // 8, picture.width * 7 // 8
    top, bottom = picture.height * 15 // 18, picture.height * 17 // 18
    y = _mean(picture.y, picture.stride, range(left, right), range(top, bottom))
    columns, rows = range(left // 2, right // 2), range(top // 2, bottom // 2)
    u = _mean(picture.u, picture.chroma_stride, columns, rows)
    v = _mean(picture.v, picture.chroma_stride, columns, rows)
    if abs(u - 128) < _CHROMA_NOISE and abs(v - 128) < _CHROMA_NOISE:
        return None
    return to_rgb(y, u, v)


def same_color(one: str, other: str, tolerance: int = 24) -> bool:
    """Whether two colour codes are the same but for what a codec does to them."""
    pairs = zip(bytes.fromhex(one), bytes.fromhex(other), strict=True)
    return all(abs(a - b) <= tolerance for a, b in pairs)


def to_yuv(color: str) -> tuple[int, int, int]:
    """rrggbb as BT.601 limited-range Y, U, V."""
    r, g, b = bytes.fromhex(color)
    y = 16 + (65.738 * r + 129.057 * g + 25.064 * b) / 256
    u = 128 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256
    v = 128 + (112.439 * r - 94.154 * g - 18.285 * b) / 256
    return round(y), round(u), round(v)


def to_rgb(y: float, u: float, v: float) -> str:
    """The inverse of ``to_yuv``."""
    luma, cb, cr = 298.082 * (y - 16), u - 128, v - 128
    rgb = (luma + 408.583 * cr, luma - 100.291 * cb - 208.120 * cr, luma + 516.412 * cb)
    return bytes(min(255, max(0, round(value / 256))) for value in rgb).hex()


def _luma(picture: Picture, column: int, band: int) -> float:
    """Mean of the middle half of a cell: its rim is what scaling and the codec blur."""
    width, height, across, down = picture.width, picture.height, 4 * COLUMNS, 4 * _BANDS
    columns = range(width * (4 * column + 1) // across, width * (4 * column + 3) // across)
    rows = range(height * (4 * band + 1) // down, height * (4 * band + 3) // down)
    return _mean(picture.y, picture.stride, columns, rows)


def _mean(plane: Buffer, stride: int, columns: range, rows: range) -> float:
    """Mean over a rectangle, looking at a few of its rows."""
    if not columns or not rows:
        return 0.0
    looked_at = rows[:: max(1, len(rows) // 4)]
    total = sum(sum(plane[row * stride + columns.start : row * stride + columns.stop]) for row in looked_at)
    return total / (len(looked_at) * len(columns))


def _check(counter: int) -> int:
    """Eight bits of a multiplicative hash: a misread bit passes once in 256."""
    mixed = counter * 0x9E3779B1 & 0xFFFFFFFF
    return (mixed >> 24) ^ 0xA5


def _to_bits(value: int, count: int) -> list[int]:
    return [value >> (count - 1 - i) & 1 for i in range(count)]


def _from_bits(bits: list[bool]) -> int:
    value = 0
    for bit in bits:
        value = value << 1 | bit
    return value
