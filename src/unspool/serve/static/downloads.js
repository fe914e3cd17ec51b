// Follows the downloads of this page. The browser saves them by itself, so that nothing is held
// here; the live view of the server, asked by the stream's id, says how far each is.
import { detail } from "./problem.js";
import { total } from "./total.js";

const POLL_MS = 500;
const UNSEEN_POLLS = 10; // If the server does not know a stream so long, something is wrong.
const ENDS = { complete: "Complete", error: "Failed", disconnect: "Stopped", cancelled: "Cancelled" };

class Download {
  constructor(link, id) {
    this.url = link.href;
    this.id = id;
    this.name = link.dataset.name;
    this.unseen = 0;
    this.build();
    this.say(`Download of ${this.name} has begun.`);
    total().then(rows => { this.total = rows; });
    this.poll();
  }

  build() {
    this.card = document.getElementById("download").content.cloneNode(true).firstElementChild;
    [this.title, this.state, this.bar, this.figures, this.button] =
      [".name", ".state", "progress", ".figures", "button"].map(name => this.card.querySelector(name));
    this.title.textContent = this.name;
    this.bar.setAttribute("aria-label", `Progress of ${this.name}`);
    this.button.setAttribute("aria-label", `Cancel ${this.name}`);
    this.button.onclick = () => this.cancel();
    document.getElementById("downloads").prepend(this.card);
    document.getElementById("downloading").hidden = false;
  }

  async poll() {
    const record = await this.record();
    if (record) this.show(record);
    else if (++this.unseen >= UNSEEN_POLLS) await this.lost();
    if (!this.over) setTimeout(() => this.poll(), POLL_MS);
  }

  async record() {
    try {
      const response = await fetch(`/-/streams/${this.id}.json`, { cache: "no-store" });
      return response.ok ? await response.json() : null;
    } catch {
      return null; // The server is away: the next poll may find it.
    }
  }

  show(record) {
    this.unseen = 0;
    this.seen = record;
    this.state.textContent = sentence(ENDS[record.state] ?? record.state);
    if (record.state in ENDS) return this.ended(record);
    this.figures.textContent = this.progress(record);
    if (!this.total) return;
    this.bar.max = this.total;
    this.bar.value = Math.min(record.rows, this.total);
  }

  ended({ state, rows: made, bytes: sent }) {
    const whole = state === "complete" ? "" : ". The file is not whole.";
    this.end(state, `${rows(made)}, ${bytes(sent)}${NBSP}sent${whole}`);
  }

  progress({ rows: made, bytes: sent, bytes_per_s: speed, rows_per_s: pace }) {
    const parts = [this.total ? `${number(made)} of ${rows(this.total)}` : rows(made), `${bytes(sent)}${NBSP}sent`, `${bytes(speed)}/s`];
    if (this.total && pace > 0) parts.push(`${duration(Math.max(0, this.total - made) / pace)}${NBSP}left`);
    return parts.join(" · ");
  }

  // Never seen: the request was refused, and says why. Seen, and gone: the server was started anew.
  async lost() {
    if (this.seen) return this.end("error", "The server no longer knows this download; see the browser's own list.");
    const leaving = new AbortController();
    try {
      const url = new URL(this.url);
      url.searchParams.delete("_stream");
      const response = await fetch(url, { signal: leaving.signal });
      if (!response.ok) return this.end("error", await detail(response));
      if (await this.record()) this.unseen = 0; // Its first row took its time.
      else this.end("error", "The server does not know this download; see the browser's own list.");
    } catch (error) {
      this.end("error", `The server cannot be reached: ${error.message}`);
    } finally {
      leaving.abort();
    }
  }

  end(state, text) {
    this.over = true;
    this.card.dataset.state = state;
    this.state.textContent = ENDS[state];
    this.figures.textContent = text;
    this.bar.remove();
    this.button.textContent = "Dismiss";
    this.button.setAttribute("aria-label", `Dismiss ${this.name}`);
    this.button.onclick = () => this.dismiss();
    this.say(`${this.name}: ${ENDS[state].toLowerCase()}. ${this.figures.textContent}`);
  }

  async cancel() {
    this.button.disabled = true;
    await fetch(`/-/streams/${this.id}/cancel`, { method: "POST", headers: { "X-Requested-With": "fetch" } }).catch(() => {});
    this.button.disabled = false;
  }

  dismiss() {
    this.card.remove();
    document.getElementById("downloading").hidden = !document.getElementById("downloads").childElementCount;
    document.getElementById("take").querySelector("a")?.focus();
  }

  say(text) {
    document.getElementById("said").textContent = text;
  }
}

const NBSP = "\u00a0";
const sentence = text => text[0].toUpperCase() + text.slice(1);
const number = (n, digits = 0) => n.toLocaleString("en", { maximumFractionDigits: digits });
const rows = n => `${number(n)}${NBSP}${n === 1 ? "row" : "rows"}`;
function bytes(n) {
  const power = Math.min(4, Math.max(0, Math.floor(Math.log10(n || 1) / 3)));
  return `${number(n / 1000 ** power, power ? 1 : 0)}${NBSP}${["B", "kB", "MB", "GB", "TB"][power]}`;
}
function duration(s) {
  if (s < 60) return `${Math.ceil(s)}${NBSP}s`;
  if (s < 3600) return `${Math.floor(s / 60)}${NBSP}min ${Math.floor(s % 60)}${NBSP}s`;
  return `${Math.floor(s / 3600)}${NBSP}h ${Math.floor(s % 3600 / 60)}${NBSP}min`;
}

// randomUUID() needs https.
const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), byte => byte.toString(16).padStart(2, "0")).join("");

document.addEventListener("click", event => {
  const link = event.target.closest("a[data-name]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const url = new URL(link.href), id = newId();
  url.searchParams.set("_stream", id);
  link.href = url;
  new Download(link, id);
});
