// Light or dark as the book's reader chose there; the system's choice where nobody did. Runs before anything is drawn.
try {
  const chosen = localStorage.getItem("mode");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // A browser that keeps nothing has no choice to tell.
}
