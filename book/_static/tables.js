// A table or a figure that is wider than its place can be scrolled by the keyboard too, and says that there is more of it.
const boxes = new ResizeObserver((entries) => {
  for (const { target: box } of entries) {
    const scrolls = box.scrollWidth > box.clientWidth + 1;
    box.classList.toggle("scrolls", scrolls);
    if (!scrolls) {
      ["tabindex", "role", "aria-label"].forEach((name) => box.removeAttribute(name));
      continue;
    }
    const figure = box.matches(".figure-box");
    const name = figure
      ? box.closest("figure")?.querySelector("figcaption strong, .caption-number")
      : box.closest("section")?.querySelector("h1, h2, h3")?.firstChild;
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", `${figure ? "Figure" : "Table"}, wider than the page: ${name?.textContent.trim() ?? ""}`);
  }
});
window.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".table-box, .figure-box").forEach((box) => boxes.observe(box));
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
