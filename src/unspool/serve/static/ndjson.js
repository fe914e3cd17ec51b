// The rows of a stream of NDJSON, read only as far as they are asked for: what is not read stays
// with the server, which makes no more of it meanwhile.
import { detail } from "./problem.js";

export class Refused extends Error {}
export class Broken extends Error {}

const LONGEST_CHARS = 4e6;

export async function* ndjson(url, signal) {
  const response = await fetch(url, { signal, headers: { Accept: "application/x-ndjson, application/problem+json" } });
  if (!response.ok) throw new Refused(await detail(response));
  const reader = response.body.getReader(), decoder = new TextDecoder();
  let rest = "";
  for (let step; !(step = await read(reader, signal)).done;) {
    const lines = (rest + decoder.decode(step.value, { stream: true })).split("\n");
    rest = lines.pop();
    for (const line of lines) yield { row: parsed(checked(line)), chars: line.length };
    checked(rest);
  }
  if (rest) throw new Broken("The last row came in part only.");
}

function checked(line) {
  if (line.length > LONGEST_CHARS) throw new Refused("The next row is too long to be shown here. Download it.");
  return line;
}

async function read(reader, signal) {
  try {
    return await reader.read();
  } catch (error) {
    throw signal.aborted ? error : new Broken(error.message);
  }
}

// Numbers keep their digits, as they were sent: many have more than a double holds.
function parsed(line) {
  return JSON.parse(line, (key, value, context) =>
    typeof value === "number" && context && JSON.rawJSON ? JSON.rawJSON(context.source) : value);
}
