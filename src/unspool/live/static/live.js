"use strict";

const EVERY_MS = 1000;
const ENDED = new Set(["complete", "error", "disconnect", "cancelled"]);
const rows = new Map(); // The id of a stream and its process → its row.
const body = document.getElementById("streams");
const note = document.getElementById("note");

const whole = new Intl.NumberFormat("en");

function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${count.toFixed(unit && count < 100 ? 1 : 0)} ${units[unit]}`;
}

function age(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// Only what has changed is touched: a button keeps its focus, a selection stays.
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function add(parent, tag, className, name) {
  const element = parent.appendChild(document.createElement(tag));
  if (className) element.className = className;
  if (name) element.dataset.name = name;
  return element;
}

function newRow(stream) {
  const row = document.createElement("tr");
  const head = add(row, "th");
  head.scope = "row";
  set(add(head, "b"), stream.path || "/");
  set(add(head, "small"), `${stream.method} · ${stream.format} · ${stream.id}`);
  const cells = {
    row,
    state: add(add(row, "td", "state-cell", "State"), "span"),
    rows: add(row, "td", "number", "Rows"),
    bytes: add(row, "td", "number", "Bytes"),
    rate: add(row, "td", "number", "Rate"),
    age: add(row, "td", "number", "Age"),
    client: add(row, "td", "", "Client"),
    pid: add(row, "td", "number", "Process"),
    cancel: add(row, "td", "cancel"),
  };
  cells.bytesPerS = add(cells.rate, "span");
  cells.rowsPerS = add(cells.rate, "small");
  cells.button = document.createElement("button");
  cells.button.type = "button";
  cells.button.textContent = "Cancel";
  cells.button.setAttribute("aria-label", `Cancel ${stream.path}, stream ${stream.id}`);
  cells.button.addEventListener("click", () => cancel(stream, cells.button));
  return cells;
}

function show(stream) {
  const key = `${stream.pid} ${stream.id}`;
  if (!rows.has(key)) rows.set(key, newRow(stream));
  const cells = rows.get(key);
  const over = ENDED.has(stream.state);
  set(cells.state, stream.state);
  cells.state.className = `state ${stream.state.split(" ")[0]}`;
  cells.row.className = over ? "over" : "";
  set(cells.rows, whole.format(stream.rows));
  set(cells.bytes, bytes(stream.bytes));
  set(cells.bytesPerS, `${bytes(stream.bytes_per_s)}/s`);
  set(cells.rowsPerS, `${whole.format(Math.round(stream.rows_per_s))} rows/s`);
  set(cells.age, age(stream.age_s));
  set(cells.client, stream.client || "unknown");
  set(cells.pid, String(stream.pid));
  if (over) cells.button.remove();
  else if (!cells.button.isConnected) cells.cancel.append(cells.button);
  return key;
}

function showAll(streams) {
  const keys = streams.map(show);
  const kept = new Set(keys);
  for (const [key, cells] of rows) {
    if (!kept.has(key)) {
      cells.row.remove();
      rows.delete(key);
    }
  }
  keys.forEach((key, at) => {
    const { row } = rows.get(key);
    if (body.children[at] !== row) body.insertBefore(row, body.children[at] ?? null);
  });
  const running = streams.filter((stream) => !ENDED.has(stream.state));
  const sum = (name) => running.reduce((total, stream) => total + stream[name], 0);
  set(document.getElementById("running"), whole.format(running.length));
  set(document.getElementById("rows-per-s"), whole.format(Math.round(sum("rows_per_s"))));
  set(document.getElementById("bytes-per-s"), bytes(sum("bytes_per_s")));
  const processes = new Set(streams.map((stream) => stream.pid)).size;
  set(document.getElementById("processes"), whole.format(processes));
  set(document.getElementById("process"), processes === 1 ? "process" : "processes");
  say(streams.length ? "" : "No stream runs, and none ended in the last minute.");
}

function say(text, bad = false) {
  set(note, text);
  note.classList.toggle("bad", bad);
}

async function cancel(stream, button) {
  if (!confirm(`Cancel ${stream.path}? Its client gets a broken download.`)) return;
  button.disabled = true;
  try {
    const answer = await fetch(`${encodeURIComponent(stream.id)}/cancel`, {
      method: "POST",
      headers: { "X-Requested-With": "live.js" },
    });
    if (!answer.ok && answer.status !== 404) throw new Error(`status ${answer.status}`);
  } catch (error) {
    say(`The stream could not be cancelled: ${error.message}.`, true);
    button.disabled = false;
    return;
  }
  await look();
}

async function look() {
  try {
    const answer = await fetch("all.json");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    showAll((await answer.json()).streams);
  } catch (error) {
    say(`The streams cannot be seen now: ${error.message}. Trying again.`, true);
  }
}

async function keepLooking() {
  if (!document.hidden) await look();
  setTimeout(keepLooking, EVERY_MS);
}

keepLooking();
