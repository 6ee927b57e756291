// Optional script of the pages: the theme that was chosen, before the first paint.
(() => {
  "use strict";

  const THEMES = ["auto", "light", "dark"];
  const KEY = "waxlocal-theme";
  const root = document.documentElement;

  // If the browser forbids storage, the choice lasts as long as the page.
  let theme = "auto";
  try { theme = localStorage.getItem(KEY) ?? "auto"; } catch { /* see above */ }
  if (!THEMES.includes(theme)) theme = "auto";

  const wear = () => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
  };
  wear();

  // -- theme --

  const ICONS = {
    auto: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm0 1.6v10.8A5.4 5.4 0 0 1 8 2.6Z",
    light: "M8 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM7.2 0h1.6v2.4H7.2zm0 13.6h1.6V16H7.2zM0 7.2h2.4v1.6H0zm13.6 0H16v1.6h-2.4z",
    dark: "M6.2 1.2a6.9 6.9 0 1 0 8.6 8.6A6 6 0 0 1 6.2 1.2Z",
  };

  const showTheme = () => {
    const button = document.getElementById("theme");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 16 16");
    svg.setAttribute("width", "14");
    svg.setAttribute("height", "14");
    const path = document.createElementNS(svg.namespaceURI, "path");
    path.setAttribute("d", ICONS[theme]);
    path.setAttribute("fill-rule", "evenodd");
    svg.append(path);
    button.replaceChildren(svg);
    const words = `Theme: ${theme === "auto" ? "system" : theme}`;
    button.setAttribute("aria-label", words);
    button.title = words;
    button.hidden = false;
  };

  const nextTheme = () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try { localStorage.setItem(KEY, theme); } catch { /* see above */ }
    wear();
    showTheme();
  };

  document.addEventListener("DOMContentLoaded", () => {
    showTheme();
    document.getElementById("theme").addEventListener("click", nextTheme);
  });
})();
