// Fills the table as one scrolls, from one stream. Of that only so much is read as is shown.
import { cell } from "./cell.js";
import { Broken, ndjson } from "./ndjson.js";

const AHEAD_PX = 300;   // So far below what is seen there are rows already.
const STEP_ROWS = 60;   // So many are added in one go.
const MAX_CHARS = 16e6; // Long values end the preview before its number of rows does.

let preview = null;

class Preview {
  constructor(box) {
    this.box = box;
    this.body = box.querySelector("tbody");
    this.columns = [...box.querySelectorAll("thead th")].map(({ dataset, className }) => [dataset.column, className]);
    this.max = +box.dataset.max;
    this.shown = this.read = this.chars = 0;
    this.leaving = new AbortController();
    this.rows = ndjson(box.dataset.url, this.leaving.signal);
  }

  // The first rows of the page came from a query of their own: those of the stream replace them.
  async more() {
    const first = this.shown === 0, rows = document.createDocumentFragment();
    const before = this.body.rows.length, want = first ? before + STEP_ROWS : STEP_ROWS;
    let failure = null;
    try {
      while (rows.childElementCount < want && !this.ended) rows.append(...await this.next());
    } catch (error) {
      if (this.leaving.signal.aborted) return;
      failure = error;
    }
    this.shown += rows.childElementCount;
    if (!first) this.body.append(rows);
    else if (!failure || this.shown > before) this.body.replaceChildren(rows);
    if (failure) this.end(failure instanceof Broken ? broken(this.body.rows.length) : failure.message, true);
  }

  async next() {
    const { done, value } = await this.rows.next();
    if (done) return this.end("That was all.");
    if (this.read === this.max || this.chars > MAX_CHARS) {
      this.leaving.abort();
      return this.end("The preview ends here. Download to have all rows.");
    }
    this.read++;
    this.chars += value.chars;
    const tr = document.createElement("tr");
    tr.append(...this.columns.map(([name, kind]) => cell(value.row[name], kind)));
    return [tr];
  }

  end(text, failed = false) {
    this.ended = true;
    const foot = document.getElementById("end");
    foot.textContent = text;
    foot.classList.toggle("alert", failed);
    foot.setAttribute("role", failed ? "alert" : "status");
    return [];
  }
}

const broken = n => `The transfer broke after ${count(n)}: this is not the end. The server's log has the reason.`;
const count = n => `${n.toLocaleString("en")} ${n === 1 ? "row" : "rows"}`;

let busy = false;
async function scrolled() {
  const box = document.getElementById("rows");
  if (busy || !box?.dataset.url || !box.querySelector("tbody")) return;
  busy = true;
  try {
    while (!preview?.ended && box.scrollHeight - box.scrollTop - box.clientHeight < AHEAD_PX) {
      const mine = (preview ??= new Preview(box));
      await mine.more();
      if (mine !== preview) break;
    }
  } finally {
    busy = false;
  }
}

function leave() {
  preview?.leaving.abort();
  preview = null;
}

document.addEventListener("scroll", scrolled, { capture: true, passive: true });
document.addEventListener("leave", leave);
// On a tall screen all rows may be seen, and nothing scrolls.
document.addEventListener("arrive", scrolled);
for (const event of ["load", "resize"]) addEventListener(event, scrolled);
scrolled();
addEventListener("pagehide", leave);
addEventListener("pageshow", event => event.persisted && location.reload());
