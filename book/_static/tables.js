// A table, a figure or a formula that is wider than its place can be scrolled by the keyboard too, and says so.
const kind = (box) => (box.matches(".figure-box") ? "Figure" : box.matches(".math") ? "Formula" : "Table");
const boxes = new ResizeObserver((entries) => {
  for (const { target: box } of entries) {
    const scrolls = box.scrollWidth > box.clientWidth + 1;
    box.classList.toggle("scrolls", scrolls);
    if (!scrolls) {
      ["tabindex", "role", "aria-label"].forEach((name) => box.removeAttribute(name));
      continue;
    }
    const name = box.closest("figure")?.querySelector("figcaption strong, .caption-number")
      ?? box.closest("section")?.querySelector("h1, h2, h3")?.firstChild;
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", `${kind(box)}, wider than the page: ${name?.textContent.trim() ?? ""}`);
  }
});
window.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".table-box, .figure-box, div.math").forEach((box) => boxes.observe(box));
  // A link to a claim that the choice of a word hides shows all of them again.
  const reveal = () => {
    const wanted = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (wanted?.matches(".claim") && !wanted.offsetParent) {
      document.getElementById("show-all").checked = true;
      wanted.scrollIntoView();
    }
  };
  window.addEventListener("hashchange", reveal);
});
