// Where the widgets' embedder finds its icon fonts: in the site itself, from a page at any depth.
window.__jupyter_widgets_assets_path__ = new URL("../vendor/html-manager/", document.currentScript.src).href;

// The embedder asks MathJax 2's queue to typeset a widget's text; MathJax 3 has none, and the widget would stop there.
// By DOMContentLoaded MathJax has run, as it is deferred; the embedder waits for load.
window.addEventListener("DOMContentLoaded", () => {
  if (window.MathJax && !MathJax.Hub) {
    MathJax.Hub = { Queue: ([, , element]) => MathJax.typesetPromise?.([element]) };
  }
});
