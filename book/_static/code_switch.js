// A switch on each notebook's page that hides all code, or shows it; the choice is kept.
(() => {
  const KEY = "without-code";
  const read = () => { try { return localStorage.getItem(KEY) === "yes"; } catch { return false; } };
  const keep = (hidden) => { try { localStorage.setItem(KEY, hidden ? "yes" : "no"); } catch { /* a private window */ } };
  const root = document.documentElement;
  root.classList.toggle(KEY, read());
  const begin = () => {
    const title = document.querySelector(".bd-article h1");
    if (!title || !document.querySelector(".bd-article .cell_input")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "code-switch";
    const show = () => { button.textContent = root.classList.contains(KEY) ? "Show all code" : "Hide all code"; };
    button.addEventListener("click", () => { keep(root.classList.toggle(KEY)); show(); });
    // Who follows a link to the code wants to see it.
    const follow = () => {
      if (location.hash.startsWith("#code-") && root.classList.contains(KEY)) {
        root.classList.remove(KEY);
        show();
        document.getElementById(location.hash.slice(1))?.scrollIntoView();
      }
    };
    show();
    title.after(button);
    addEventListener("hashchange", follow);
    follow();
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
