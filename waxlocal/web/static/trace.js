// Optional script of the page of a run: the selected row of its trace is shown without loading the page.
(() => {
  "use strict";

  // What app.js offers: how to fetch a part of the page, and to show it.
  let page;

  // The tab key goes to the selected row alone; j, k and the arrow keys to the others.
  const stop = () => {
    const links = [...document.querySelectorAll(".trace a.open")];
    const one = links.find((link) => link.ariaCurrent) ?? links[0];
    for (const link of links) link.tabIndex = link === one ? 0 : -1;
  };

  const select = async (link) => {
    const address = new URL(link.href);
    if (link.matches(".trace a")) {
      // Its row is shown as the one before it was.
      const view = new URL(location.href).searchParams.get("view");
      if (view) address.searchParams.set("view", view);
      else address.searchParams.delete("view");
      document.querySelector(".trace a[aria-current]")?.removeAttribute("aria-current");
      link.setAttribute("aria-current", "true");
      stop();
    }
    history.replaceState(null, "", address);
    const asked = page.liveAddress("1");
    asked.searchParams.set("part", "pane");
    // Another one may have been selected when the answer comes.
    const isLate = () => location.href !== address.href;
    let fresh = null;
    try {
      fresh = (await page.fetched(asked)).body.firstElementChild;
    } catch (error) {
      if (error.message === "404" && !isLate()) return page.tellGone();
    }
    if (isLate()) return;
    // The address is that of the row already.
    if (!fresh) return location.reload();
    const pane = document.getElementById("pane");
    page.showPart(fresh);
    pane.scrollTop = 0;
    page.follow(fresh);
    page.say(`Selected: ${pane.querySelector("h2").textContent.trim()}`);
    // Below the trace, where the window is narrow.
    if (pane.getBoundingClientRect().top > innerHeight - 80) pane.scrollIntoView();
  };

  const onClick = (event) => {
    const link = event.target.closest?.(".trace a.open, .views a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    select(link);
  };

  window.waxlocalTrace = {
    stop,
    start: (offered) => {
      page = offered;
      document.addEventListener("click", onClick);
    },
  };
})();
