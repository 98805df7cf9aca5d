// The book's own choice of light or dark, where the reader has made one there; else the system's holds.
try {
  const chosen = localStorage.getItem("mode");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.mode = chosen;
} catch {
  // without storage there is no choice to follow
}
