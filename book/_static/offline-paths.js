// Where the widgets' embedder finds its icon fonts: in the site itself, from a page at any depth.
window.__jupyter_widgets_assets_path__ = new URL("../vendor/html-manager/", document.currentScript.src).href;
