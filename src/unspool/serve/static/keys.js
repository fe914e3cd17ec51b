// Ctrl+Enter (or ⌘+Enter) runs the statement.
document.addEventListener("keydown", event => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.target.id !== "sql") return;
  event.preventDefault();
  event.target.form.requestSubmit();
});
