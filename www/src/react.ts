'use client';

/**
 * Hooks for React: an engine for as long as some component uses it, and a chat with it. They survive StrictMode's double
 * mount, hot reloading and server rendering: components that ask for the same engine share one, and it is disposed a moment
 * after the last of them is gone.
 */

import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { createEngine } from './index.js';
import { joined } from './page/joined.js';
import type { ChatCompletionRequest, ChatMessage, Engine, EngineOptions, Progress } from './wire/types.js';

/**
 * An engine without users is kept for so many turns: who mounts again in the meantime, as StrictMode does, finds it. Turns
 * and not one long wait: after a page has stood still its timers may come before the tasks that mount.
 */
const GRACE_TURNS = 5;
const TURN_MS = 200;

/** What has become of an engine. */
export interface EngineState {
  /** `idle` where no model is asked for. */
  readonly status: 'idle' | 'loading' | 'ready' | 'failed';
  /** There from `ready` on, while the last bytes may still arrive. */
  readonly engine?: Engine;
  /** How far the start has come. */
  readonly progress?: Progress;
  /** Why it failed: a `ChordError`. */
  readonly error?: unknown;
}

/** What an engine is made with, but for what the hook does itself. */
export type SharedEngineOptions = Omit<EngineOptions, 'signal' | 'onProgress'>;

/** An engine that components share. */
interface Shared {
  readonly stop: AbortController;
  readonly listeners: Set<() => void>;
  /** How many users have left. */
  left: number;
  state: EngineState;
}

const IDLE: EngineState = { status: 'idle' };
const LOADING: EngineState = { status: 'loading' };

/** By what it is made with. */
const all = new Map<string, Shared>();
const numbers = new WeakMap<object, number>();
let counted = 0;

/** Opens an engine, or joins those who have opened it with the same options; `null` for none. */
export function useEngine(options: SharedEngineOptions | null): EngineState {
  const key = options === null ? undefined : keyOf(options);
  const latest = useRef(options);
  latest.current = options;
  const subscribe = useCallback((listener: () => void) => {
    if (key === undefined || latest.current === null) return () => undefined;
    const shared = all.get(key) ?? open(key, latest.current);
    shared.listeners.add(listener);
    return () => {
      shared.listeners.delete(listener);
      void closeUnused(key, shared);
    };
  }, [key]);
  return useSyncExternalStore(
    subscribe,
    () => (key === undefined ? IDLE : all.get(key)?.state ?? LOADING),
    () => (key === undefined ? IDLE : LOADING),
  );
}

function open(key: string, options: SharedEngineOptions): Shared {
  const stop = new AbortController();
  const shared: Shared = { stop, listeners: new Set(), state: LOADING, left: 0 };
  const tell = (state: EngineState): void => {
    shared.state = state;
    for (const listener of shared.listeners) listener();
  };
  all.set(key, shared);
  const onProgress = (progress: Progress): void => tell({ ...shared.state, progress });
  createEngine({ ...options, signal: stop.signal, onProgress }).then(
    (engine) => {
      if (stop.signal.aborted) void engine.dispose();
      else tell({ ...shared.state, status: 'ready', engine });
    },
    (error: unknown) => tell({ status: 'failed', error }),
  );
  return shared;
}

/** Closes an engine if it has no user and none comes within the grace. */
async function closeUnused(key: string, shared: Shared): Promise<void> {
  const left = shared.left += 1;
  // One that came and left in the meantime has a grace of its own.
  const isUsed = (): boolean => shared.listeners.size > 0 || shared.left !== left || all.get(key) !== shared;
  for (let turn = 0; turn < GRACE_TURNS; turn += 1) {
    if (isUsed()) return;
    await new Promise((done) => setTimeout(done, TURN_MS));
  }
  if (isUsed()) return;
  all.delete(key);
  shared.stop.abort();
  void shared.state.engine?.dispose();
}

/** The same text for the same options. Files are told apart by who they are, not by what they hold. */
function keyOf(options: SharedEngineOptions): string {
  const plain = (value: unknown): unknown => {
    if (value instanceof URL) return value.href;
    if (value instanceof Headers) return [...value];
    if (!(value instanceof Blob)) return value;
    if (!numbers.has(value)) numbers.set(value, counted += 1);
    return { blob: numbers.get(value) };
  };
  const { model, headers, hub, ...others } = options;
  return JSON.stringify([Array.isArray(model) ? model.map(plain) : plain(model), plain(headers), plain(hub), Object.entries(others).sort()]);
}

/** A chat, and what can be done with it. */
export interface Chat {
  /** All messages, the one that is being written included. */
  readonly messages: readonly ChatMessage[];
  /** Whether an answer is being written. */
  readonly isRunning: boolean;
  /** Why the last answer broke off: a `ChordError`. An answer that was stopped has none. */
  readonly error?: unknown;
  /** Adds a message, the user's if it is text, or several, and has them answered. Resolves when the answer ends; an earlier one is stopped. */
  send(message: string | ChatMessage | readonly ChatMessage[]): Promise<void>;
  /** Ends the answer where it is. */
  stop(): void;
  /** Replaces all messages; an answer is stopped. */
  setMessages(messages: readonly ChatMessage[]): void;
}

/** Fields of each request of a chat, and the messages that it begins with. */
export type ChatOptions = Omit<ChatCompletionRequest, 'messages' | 'stream' | 'n'> & { initialMessages?: readonly ChatMessage[] };

/** A chat with an engine, as {@link useEngine} gives it; until there is one, `send` does nothing. */
export function useChat(engine: Engine | undefined, options: ChatOptions = {}): Chat {
  const [messages, show] = useState<readonly ChatMessage[]>(options.initialMessages ?? []);
  const [isRunning, setRunning] = useState(false);
  const [error, setError] = useState<unknown>();
  const kept = useRef(messages);
  const running = useRef<AbortController>(undefined);
  const latest = useRef({ engine, options });
  latest.current = { engine, options };

  const put = useCallback((next: readonly ChatMessage[]) => {
    kept.current = next;
    show(next);
  }, []);
  const stop = useCallback(() => {
    running.current?.abort();
    running.current = undefined;
    setRunning(false);
  }, []);
  // A component that is gone needs no answer. One whose effects begin again at once, in StrictMode or because its file was
  // edited, goes on.
  const isMounted = useRef(false);
  useEffect(() => {
    isMounted.current = true;
    return () => {
      isMounted.current = false;
      queueMicrotask(() => {
        if (!isMounted.current) stop();
      });
    };
  }, [stop]);

  const send = useCallback(async (message: string | ChatMessage | readonly ChatMessage[]) => {
    const { engine: asked, options: { initialMessages: _, ...request } } = latest.current;
    if (!asked) return;
    stop();
    const controller = new AbortController();
    running.current = controller;
    const isCurrent = (): boolean => running.current === controller;
    const added = typeof message === 'string' ? [{ role: 'user' as const, content: message }] : [message].flat() as ChatMessage[];
    const before = [...kept.current, ...added];
    put(before);
    setRunning(true);
    setError(undefined);
    try {
      const stream = await asked.chat.completions.create({ ...request, messages: before, stream: true }, { signal: controller.signal });
      let answer: ChatMessage = { role: 'assistant', content: '' };
      for await (const { choices } of stream) {
        if (!isCurrent()) return;
        answer = joined(answer, choices[0]?.delta ?? {});
        put([...before, answer]);
      }
    } catch (failure) {
      if (isCurrent() && !controller.signal.aborted) setError(failure);
    } finally {
      if (isCurrent()) stop();
    }
  }, [put, stop]);
  const setMessages = useCallback((next: readonly ChatMessage[]) => {
    stop();
    put(next);
  }, [put, stop]);
  return { messages, isRunning, error, send, stop, setMessages };
}
