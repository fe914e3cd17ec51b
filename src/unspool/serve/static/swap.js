// Moves to another URL of this page without leaving it: the server renders that page too, and the
// parts of it that differ take the places of ours. Downloads that run stay on the page.
const PARTS = ["query", "preview", "take"];

const here = () => location.pathname + location.search;

let moving = new AbortController(), at = here();

export async function go(url, push = true) {
  moving.abort();
  const { signal } = (moving = new AbortController());
  document.dispatchEvent(new Event("leave"));
  part("preview").setAttribute("aria-busy", "true");
  try {
    // HX-Request: the page in order, since nothing fills holes in what a script has fetched.
    const response = await fetch(url, { signal, headers: { Accept: "text/html", "HX-Request": "true" } });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    if (!page.getElementById("preview")) throw new Error(`The server answered ${response.status}.`);
    if (push) history.pushState(null, "", response.url);
    at = here();
    put(page);
  } catch (error) {
    if (!signal.aborted) tell(`The server could not be asked: ${error.message}`);
  }
}

const part = id => document.getElementById(id);

function put(page) {
  const focused = document.activeElement?.id;
  for (const id of PARTS) if (part(id)) part(id).replaceWith(page.getElementById(id));
  document.title = page.title;
  if (focused) part(focused)?.focus();
  document.dispatchEvent(new Event("arrive"));
}

function tell(text) {
  const alert = Object.assign(document.createElement("p"), { className: "alert", role: "alert", textContent: text });
  part("preview").removeAttribute("aria-busy");
  part("rows").replaceChildren(alert);
}

document.addEventListener("submit", event => {
  const form = event.target.closest("#query");
  if (!form) return;
  event.preventDefault();
  go(form.action + "?" + new URLSearchParams(new FormData(form, event.submitter)));
});
document.addEventListener("click", event => {
  const link = event.target.closest("#query a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(link.href);
});
// A link to a part of this page comes by here too.
addEventListener("popstate", () => at !== here() && go(location.href, false));
