// How many rows there are: asked late, since some databases count slowly.
import { detail } from "./problem.js";

let asked = null;

export const total = () => (asked ??= ask());

async function ask() {
  const place = document.getElementById("total");
  if (!place?.dataset.url) return null;
  const { url, offset, limit } = place.dataset;
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(await detail(response));
    const rows = Math.min(Math.max(0, (await response.json()).rows - (+offset || 0)), limit ? +limit : Infinity);
    place.textContent = `${rows.toLocaleString("en")} ${rows === 1 ? "row" : "rows"}`;
    return rows;
  } catch (error) {
    place.textContent = "not counted";
    place.title = error.message;
    return null;
  }
}

document.addEventListener("arrive", () => { asked = null; total(); });
total();
