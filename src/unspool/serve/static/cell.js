// A value as a cell of the table. The macro `cell` in rows.html is its twin, and a test holds
// them equal.
const SHORT_CHARS = 100;

export function cell(value, kind) {
  const td = document.createElement("td");
  td.className = kind;
  if (kind === "binary") return note(td, "not shown");
  if (value === null || value === undefined) return note(td, "null");
  if (value === "") return note(td, "empty");
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const start = [...text.slice(0, 2 * SHORT_CHARS + 2)].slice(0, SHORT_CHARS).join("");
  if (start !== text || text.includes("\n")) td.append(cut(start, text));
  else td.textContent = text;
  return td;
}

function note(td, text) {
  td.append(Object.assign(document.createElement("i"), { textContent: text }));
  return td;
}

function cut(start, text) {
  const details = document.createElement("details"), whole = document.createElement("div");
  details.append(Object.assign(document.createElement("summary"), { textContent: start + "…" }), whole);
  whole.textContent = text;
  return details;
}
