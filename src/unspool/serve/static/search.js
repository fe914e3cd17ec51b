// Narrows the list of tables while one types; the form does the same by GET.
const field = document.getElementById("search");

field?.addEventListener("input", () => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of document.querySelectorAll("[data-search]"))
    row.hidden = !words.every(word => row.dataset.search.includes(word));
});
