/** The typed surface: what a channel takes and gives, and its second name, `client.call.muteAudio` for call:mute-audio. */
import { CHANNELS, type AlephNetEvents, type AlephNetIPCMap, type AlephNetStreamMap } from "./generated/index.js";
import type { CallOptions, StreamOptions } from "./rpc.js";

export type Channel = keyof AlephNetIPCMap;
export type EventName = keyof AlephNetEvents;
export type Params<C extends Channel> = AlephNetIPCMap[C]["params"];
export type Result<C extends Channel> = AlephNetIPCMap[C]["result"];

/** Channels that answer with a stream. */
export type StreamChannel = keyof AlephNetStreamMap;
export type InvokeChannel = Exclude<Channel, StreamChannel>;

/** Params may be left out where there are none or none is required. */
type Args<P, O> = [P] extends [void] ? [params?: undefined, options?: O] : Needed<P, O>;
type Needed<P, O> = Record<never, never> extends P ? [params?: P, options?: O] : [params: P, options?: O];

export type InvokeArgs<C extends Channel> = Args<Params<C>, CallOptions>;
export type StreamArgs<C extends Channel> = Args<Params<C>, StreamOptions>;

type Camel<S extends string> = S extends `${infer Head}-${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : S;
type MethodName<C extends string> = C extends `${string}:${infer Method}` ? Camel<Method> : never;
type Namespace = Channel extends infer C ? (C extends `${infer N}:${string}` ? N : never) : never;

type Method<C extends Channel> = C extends StreamChannel
  ? (...args: StreamArgs<C>) => AsyncIterableIterator<Result<C>>
  : (...args: InvokeArgs<C>) => Promise<Result<C>>;

/** `client.call.initiate(...)`, `client.media.getDevices()`, ... */
export type Namespaces = {
  readonly [N in Namespace]: { readonly [C in Channel & `${N}:${string}` as MethodName<C>]: Method<C> };
};

export interface Invoker {
  invoke(channel: string, ...args: unknown[]): unknown;
  stream(channel: string, ...args: unknown[]): unknown;
}

/** `mute-audio` is muteAudio. */
function camel(text: string): string {
  return text.replace(/-(\w)/g, (_match, letter: string) => letter.toUpperCase());
}

/** The methods of every namespace, made from the generated table. */
export function namespaces(target: Invoker): Namespaces {
  const spaces: Record<string, Record<string, unknown>> = {};
  for (const [name, { stream }] of Object.entries(CHANNELS)) {
    const [space, method] = name.split(":");
    if (space === undefined || method === undefined) continue;
    const methods = (spaces[space] ??= {});
    methods[camel(method)] = (...args: unknown[]) =>
      stream ? target.stream(name, ...args) : target.invoke(name, ...args);
  }
  return spaces as Namespaces;
}
