/** The progress bar of a conversion on a terminal. */
import type { ConvertEvent } from "../../convert/index.js";
import { bytes } from "../../view/format.js";
import { toWidth } from "../../view/table.js";

const CELLS = 24;
const EVERY_MS = 80;

interface Screen {
  write(text: string): unknown;
  columns?: number;
}

/** One line that is drawn over itself: share, throughput, time left, and what is being done. */
export class ProgressBar {
  readonly #screen: Screen;
  readonly #now: () => number;
  #started = 0;
  #drawn = Number.NEGATIVE_INFINITY;
  #total = 0;
  #done = 0;
  /** Bytes that an earlier run did; they say nothing about speed. */
  #before = 0;
  #doing = "";

  constructor(screen: Screen, now: () => number = () => performance.now()) {
    this.#screen = screen;
    this.#now = now;
  }

  show(event: ConvertEvent): void {
    if (event.event === "begin") {
      this.#started = this.#now();
      [this.#total, this.#done, this.#before, this.#doing] = [event.source_bytes, 0, 0, event.doing];
      this.#drawn = Number.NEGATIVE_INFINITY;
    }
    if (event.event === "resume") {
      this.#done += event.bytes;
      this.#before += event.bytes;
    }
    if (event.event === "end") this.clear();
    if (event.event === "tensor") this.#advance(event.report.bytes, event.report.name);
    if (event.event === "verified") this.#advance(event.bytes, event.tensor);
    if (event.event === "publish") this.#draw("publishing");
  }

  clear(): void {
    this.#screen.write("\r\x1b[K");
  }

  #advance(count: number, name: string): void {
    this.#done += count;
    if (this.#now() - this.#drawn >= EVERY_MS) this.#draw(name);
  }

  #draw(name: string): void {
    this.#drawn = this.#now();
    const share = this.#total === 0 ? 1 : Math.min(1, this.#done / this.#total);
    const bar = "#".repeat(Math.round(share * CELLS)).padEnd(CELLS, "-");
    const percent = `${Math.floor(share * 100)}%`.padStart(4);
    const of = `${bytes(this.#done)} of ${bytes(this.#total)}`;
    const text = `${this.#doing} ${percent} [${bar}] ${of}${this.#speed()}  ${name}`;
    this.#screen.write(`\r${toWidth(text, (this.#screen.columns ?? 100) - 1)}`);
  }

  #speed(): string {
    const seconds = (this.#now() - this.#started) / 1000;
    const rate = (this.#done - this.#before) / seconds;
    if (!(seconds > 0.2 && rate > 0)) return "";
    const left = Math.max(0, Math.round((this.#total - this.#done) / rate));
    return `  ${bytes(Math.round(rate))}/s  ${left < 120 ? `${left} s` : `${Math.round(left / 60)} min`} left`;
  }
}
