// The conversation: sends what was typed with all that was said before, shows the answer as it streams,
// stops it, and asks again.

import type { ChatMessage, Engine, SamplingParams, Timings } from '/pkg/index.js';
import { announce, button, byId, make } from './dom.js';
import { isAbort } from './errors.js';
import { decimal, latency } from './format.js';
import { copyButton, MarkdownView } from './markdown.js';
import { notice, type Remedies } from './notice.js';
import { samplingFields, systemPrompt } from './settings.js';
import { Thinking } from './thinking.js';

/** What the conversation needs from the rest of the page. */
export interface ChatHost {
  /** What to say while an answer has not begun. */
  waitingText(): string;
  /** Called when the first piece of an answer is here; times in the clock of performance.now(). */
  onFirstToken(askedAt: number, firstAt: number): void;
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
  #answerView: AnswerView | undefined;

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
      if (event.key === 'Escape' && !document.querySelector('dialog[open]')) this.stop();
    });
    byId('stop').addEventListener('click', () => this.stop());
    byId('new-chat').addEventListener('click', () => this.restart());
  }

  /** Whether an answer is being written. */
  get busy(): boolean {
    return this.#running !== undefined;
  }

  /** How fast the answer is being written, in pieces a second, once that can be told. */
  get speed(): number | undefined {
    return this.#answerView?.speed;
  }

  /** Says anew what an answer waits for. */
  refresh(): void {
    this.#answerView?.wait(this.#host.waitingText());
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
    this.#log.querySelectorAll('.turn .again').forEach((old) => old.remove());

    const view = new AnswerView(this.#host);
    const article = turn('Answer', ...view.elements);
    article.setAttribute('aria-busy', 'true');
    this.#log.append(article);
    this.#answerView = view;
    this.refresh();
    this.#refresh();
    this.#follow(true);

    try {
      const ending = await this.#stream(this.#engine, messages, sampling, running.signal, view);
      article.append(this.#foot(ending, view));
      if (view.said) messages.push({ role: 'assistant', content: view.said });
      announce(ending.reason === 'cancelled' ? 'Stopped' : 'Answer complete');
    } catch (error) {
      article.append(notice(error, this.#remedies()));
    } finally {
      view.finish();
      article.setAttribute('aria-busy', 'false');
      this.#running = undefined;
      this.#answerView = undefined;
      this.#refresh();
      this.#follow();
      this.#host.onActivity();
    }
  }

  /** Streams one answer into its view. */
  async #stream(
    engine: Engine,
    messages: ChatMessage[],
    sampling: SamplingParams,
    signal: AbortSignal,
    view: AnswerView,
  ): Promise<Ending> {
    const ending: Ending = { reason: 'stop' };
    const system = systemPrompt();
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
        if (choice) view.add(choice.delta);
        this.#follow();
        if (choice?.finish_reason === 'length') ending.reason = 'length';
        if (chunk.timings) ending.timings = chunk.timings;
      }
    } catch (error) {
      if (!isAbort(error) && !signal.aborted) throw error;
      ending.reason = 'cancelled';
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

  #foot({ reason, timings }: Ending, view: AnswerView): HTMLElement {
    const facts = [reason === 'cancelled' ? 'Stopped' : reason === 'length' ? 'Cut off at the length limit' : ''];
    if (timings) {
      facts.push(`${decimal(timings.predicted_per_second)} tokens/s`, `first after ${latency(timings.prompt_ms)}`);
    }
    const again = button('Regenerate', () => this.#regenerate(), 'quiet again');
    const copy = view.said ? [copyButton(() => view.said)] : [];
    return make('p', 'foot', make('span', '', facts.filter(Boolean).join(', ')), make('span', 'actions', ...copy, again));
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

/** One answer as it is written: what the model thinks, folded, and what it says. */
class AnswerView {
  readonly #host: ChatHost;
  readonly #waiting = make('p', 'waiting');
  readonly #body = make('div', 'answer', this.#waiting);
  readonly #thought = document.createTextNode('');
  readonly #summary = make('summary', '', 'Thinking…');
  readonly #fold = make('details', 'thought', this.#summary, make('p', '', this.#thought));
  readonly #markdown = new MarkdownView(this.#body);
  readonly #thinking = new Thinking();
  readonly #askedAt = performance.now();
  #firstAt: number | undefined;
  #lastAt = 0;
  #pieces = 0;
  #isAnswering = false;
  /** The answer without its thought. */
  said = '';

  constructor(host: ChatHost) {
    this.#host = host;
    this.#fold.hidden = true;
  }

  get elements(): HTMLElement[] {
    return [this.#fold, this.#body];
  }

  /** Pieces a second since the first one. */
  get speed(): number | undefined {
    const elapsed = this.#lastAt - (this.#firstAt ?? 0);
    return this.#pieces > 4 && elapsed > 0 ? ((this.#pieces - 1) * 1000) / elapsed : undefined;
  }

  /** Says what the answer waits for, until it begins. */
  wait(text: string): void {
    this.#waiting.textContent = text;
  }

  /** Takes the next piece. What a model thinks comes as `reasoning_content`, or between tags in its text. */
  add({ content, reasoning_content: thought }: { content?: string | null; reasoning_content?: string | null }): void {
    if (!content && !thought) return;
    this.#lastAt = performance.now();
    this.#pieces += 1;
    if (this.#firstAt === undefined) {
      this.#firstAt = this.#lastAt;
      this.#host.onFirstToken(this.#askedAt, this.#firstAt);
    }
    if (thought) this.#think(thought);
    if (!content) return;
    const parted = this.#thinking.push(content);
    this.#think(parted.thought);
    this.#say(parted.said);
  }

  /** Shows what was held back. */
  finish(): void {
    const rest = this.#thinking.end();
    this.#think(rest.thought);
    this.#say(rest.said);
    this.#waiting.remove();
    this.#endThought();
    this.#markdown.finish();
  }

  #think(text: string): void {
    if (!text) return;
    this.#waiting.remove();
    this.#fold.hidden = false;
    this.#thought.appendData(text);
  }

  #say(text: string): void {
    if (!text) return;
    this.#waiting.remove();
    this.#endThought();
    this.said += text;
    this.#markdown.append(text);
  }

  #endThought(): void {
    if (this.#isAnswering) return;
    this.#isAnswering = true;
    this.#summary.textContent = `Thought for ${latency(performance.now() - (this.#firstAt ?? this.#askedAt))}`;
  }
}

function turn(speaker: string, ...children: HTMLElement[]): HTMLElement {
  const article = make('article', 'turn', ...children);
  article.setAttribute('aria-label', speaker);
  return article;
}
