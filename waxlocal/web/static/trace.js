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

  const rowOf = (address) => new URL(address, location.href).searchParams.get("row");

  const mark = (address) => {
    const links = [...document.querySelectorAll(".trace a.open")];
    for (const link of links) {
      if (rowOf(link.href) === rowOf(address)) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    stop();
  };

  // What the page shows; a click on a link within it is no other row.
  let shown = location.search;

  const select = (link) => {
    const address = new URL(link.href);
    // A click changes the row, or how it is shown. The other stays: what is here may still be that of
    // the row before, whose successor is on its way.
    const kept = link.matches(".trace a") ? "view" : "row";
    const value = new URL(location.href).searchParams.get(kept);
    if (value) address.searchParams.set(kept, value);
    else address.searchParams.delete(kept);
    if (address.href !== location.href) history.pushState(null, "", address);
    show(address);
  };

  const show = async (address) => {
    shown = address.search;
    mark(address.href);
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
    const { top, bottom } = pane.getBoundingClientRect();
    if (top > innerHeight - 80 || bottom < 80) pane.scrollIntoView();
  };

  const onBack = () => {
    if (location.search !== shown) show(new URL(location.href));
  };

  // The selected row of an address that was sent may be far down; where the pane is below the trace, it
  // is what was sent.
  const find = () => {
    const row = document.querySelector(".trace a[aria-current]");
    const pane = document.getElementById("pane");
    if (row && rowOf(location.href) && pane.getBoundingClientRect().left > 100) {
      row.scrollIntoView({ block: "center" });
    }
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
      addEventListener("popstate", onBack);
      addEventListener("load", find);
    },
  };
})();
