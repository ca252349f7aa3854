// The conversation: sends what was typed with all that was said before, shows the answer as it streams,
// stops it, and asks again.

import type { ChatMessage, Engine, SamplingParams, Timings } from '/pkg/index.js';
import { announce, button, byId, make } from './dom.js';
import { isAbort } from './errors.js';
import { decimal, latency } from './format.js';
import { notice, type Remedies } from './notice.js';
import { samplingFields, systemPrompt } from './settings.js';
import { TextView } from './text-view.js';

/** What the conversation needs from the rest of the page. */
export interface ChatHost {
  /** Whether every byte of the model is here; until then an answer may have to wait. */
  modelComplete(): boolean;
  /** Called when an answer has ended. */
  onActivity(): void;
  /** What can be done about a failed answer, besides what the conversation itself offers. */
  remedies(): Remedies;
}

/** How an answer ended. */
interface Ending {
  reason: 'stop' | 'length' | 'cancelled';
  timings?: Timings;
}

export class Chat {
  readonly #host: ChatHost;
  readonly #log = byId('conversation');
  readonly #question = byId<HTMLTextAreaElement>('question');
  #engine: Engine | undefined;
  #messages: ChatMessage[] = [];
  #running: AbortController | undefined;

  constructor(host: ChatHost) {
    this.#host = host;
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#question.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.stop();
    });
    byId('stop').addEventListener('click', () => this.stop());
    byId('new-chat').addEventListener('click', () => this.restart());
  }

  /** Whether an answer is being written. */
  get busy(): boolean {
    return this.#running !== undefined;
  }

  /** Sets the engine that answers; undefined while there is none. The conversation goes on with a new one. */
  use(engine: Engine | undefined): void {
    this.stop();
    this.#engine = engine;
    this.#refresh();
  }

  /** Offers questions that suit the model; one click asks. */
  suggest(questions: string[]): void {
    byId('examples').replaceChildren(
      ...questions.map((text) => make('li', '', button(text, () => this.ask(text), 'chip'))),
    );
  }

  /** Asks a question, if an engine is there and idle. */
  ask(text: string): void {
    if (!this.#engine || this.#running || !text.trim()) return;
    this.#messages.push({ role: 'user', content: text });
    this.#log.append(turn('You', make('p', 'said', text)));
    void this.#answer();
  }

  /** Stops the answer that is being written; what is there stays. */
  stop(): void {
    this.#running?.abort();
  }

  /** Forgets the conversation. */
  restart(): void {
    this.stop();
    this.#messages = [];
    for (const old of this.#log.querySelectorAll('.turn')) old.remove();
    this.#refresh();
    this.#question.focus();
  }

  #submit(): void {
    if (!this.#engine || this.#running || !this.#question.value.trim()) return;
    const text = this.#question.value;
    this.#question.value = '';
    this.ask(text);
  }

  /** Drops the last answer and asks for another. */
  #regenerate(): void {
    if (this.#running || !this.#engine) return;
    if (this.#messages.at(-1)?.role === 'assistant') this.#messages.pop();
    this.#log.querySelector('.turn:last-child')?.remove();
    this.#question.focus();
    void this.#answer();
  }

  async #answer(): Promise<void> {
    const sampling = samplingFields();
    if (!this.#engine || !sampling) return this.#takeBack();
    const running = new AbortController();
    const messages = this.#messages;
    this.#running = running;
    this.#log.querySelectorAll('.turn .actions').forEach((old) => old.remove());

    const body = make('div', 'answer');
    const article = turn('Answer', body);
    article.setAttribute('aria-busy', 'true');
    this.#log.append(article);
    body.append(make('p', 'waiting', this.#host.modelComplete() ? 'Reading…' : 'The answer starts when the model is here…'));
    this.#refresh();
    this.#follow(true);

    let text = '';
    try {
      const ending = await this.#stream(this.#engine, messages, sampling, running.signal, body, (piece) => (text += piece));
      article.append(this.#foot(ending));
      announce(ending.reason === 'cancelled' ? 'Stopped' : 'Answer finished');
    } catch (error) {
      if (!text) body.remove();
      article.append(notice(error, this.#remedies()));
    }
    body.querySelector('.waiting')?.remove();
    article.setAttribute('aria-busy', 'false');
    if (text) messages.push({ role: 'assistant', content: text });
    if (this.#running === running) this.#running = undefined;
    this.#refresh();
    this.#follow();
    this.#host.onActivity();
  }

  async #stream(
    engine: Engine,
    messages: ChatMessage[],
    sampling: SamplingParams,
    signal: AbortSignal,
    body: HTMLElement,
    onPiece: (piece: string) => void,
  ): Promise<Ending> {
    const view = new TextView(body);
    const system = systemPrompt();
    const ending: Ending = { reason: 'stop' };
    try {
      const stream = await engine.chat.completions.create(
        {
          messages: system ? [{ role: 'system', content: system }, ...messages] : messages,
          stream: true,
          ...sampling,
        },
        { signal },
      );
      for await (const chunk of stream) {
        const choice = chunk.choices[0];
        const piece = choice?.delta.content;
        if (piece) {
          body.querySelector('.waiting')?.remove();
          onPiece(piece);
          view.append(piece);
          this.#follow();
        }
        if (choice?.finish_reason === 'length') ending.reason = 'length';
        if (chunk.timings) ending.timings = chunk.timings;
      }
    } catch (error) {
      if (!isAbort(error) && !signal.aborted) throw error;
      ending.reason = 'cancelled';
    } finally {
      view.finish();
    }
    return ending;
  }

  /** A question that was not sent goes back to where it was typed. */
  #takeBack(): void {
    const last = this.#messages.at(-1);
    if (last?.role !== 'user') return;
    this.#messages.pop();
    this.#log.querySelector('.turn:last-child')?.remove();
    this.#question.value = String(last.content);
    this.#refresh();
  }

  #foot({ reason, timings }: Ending): HTMLElement {
    const facts = [reason === 'cancelled' ? 'Stopped' : reason === 'length' ? 'Cut off at the length limit' : ''];
    if (timings) {
      facts.push(`${decimal(timings.predicted_per_second)} tokens/s`, `first after ${latency(timings.prompt_ms)}`);
    }
    const again = button('Regenerate', () => this.#regenerate(), 'quiet');
    return make('p', 'foot', make('span', '', facts.filter(Boolean).join(', ')), make('span', 'actions', again));
  }

  #remedies(): Remedies {
    const remedies: Remedies = {
      ...this.#host.remedies(),
      retry: { label: 'Try again', run: () => this.#regenerate() },
    };
    if (this.#messages.length > 1) remedies.newChat = { label: 'Ask in a new chat', run: () => this.#askAfresh() };
    return remedies;
  }

  #askAfresh(): void {
    const last = this.#messages.findLast((message) => message.role === 'user');
    this.restart();
    if (last) this.ask(String(last.content));
  }

  #refresh(): void {
    const running = this.#running !== undefined;
    byId<HTMLButtonElement>('send').disabled = !this.#engine;
    byId('send').hidden = running;
    byId('stop').hidden = !running;
    byId('new-chat').hidden = this.#messages.length === 0;
    byId('welcome').hidden = this.#messages.length > 0;
    for (const chip of byId('examples').querySelectorAll('button')) chip.disabled = !this.#engine;
    byId('composer-hint').textContent = running ? 'Esc stops' : 'Enter sends, Shift+Enter makes a new line';
  }

  /** Keeps the end of the conversation in view, unless the reader has scrolled away from it. */
  #follow(always = false): void {
    const own = this.#log.scrollHeight > this.#log.clientHeight && getComputedStyle(this.#log).overflowY === 'auto';
    const scroller = own ? this.#log : document.documentElement;
    const below = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    if (always || below < 120) scroller.scrollTop = scroller.scrollHeight;
  }
}

function turn(speaker: string, ...children: HTMLElement[]): HTMLElement {
  const article = make('article', 'turn', ...children);
  article.setAttribute('aria-label', speaker);
  return article;
}
