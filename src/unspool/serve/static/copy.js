// Copies a line. The clipboard is only there on https and localhost: elsewhere the line is selected
// and copied as a key press would.
document.addEventListener("click", async event => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const line = document.getElementById(button.dataset.copy);
  const done = await copied(line);
  const label = button.dataset.label ??= button.textContent;
  button.textContent = done ? "Copied" : "Selected";
  document.getElementById("said").textContent = done ? "Copied." : "The line is selected.";
  setTimeout(() => { button.textContent = label; }, 1500);
});

async function copied(line) {
  try {
    await navigator.clipboard.writeText(line.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(line);
    return document.execCommand("copy");
  }
}
