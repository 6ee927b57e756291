// Optional script of the pages: theme before the first paint, local time zone, keys, copying, and
// refreshing without scrolling. The pages also work without it.
(() => {
  "use strict";

  const THEMES = ["auto", "light", "dark"];
  const KEY = "waxlocal-theme";
  const root = document.documentElement;
  // live.js: the page is told what has changed. Without it, or without a stream, it asks.
  const live = window.waxlocalLive;

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

  // -- times --

  // The Swedish locale formats dates as the file does: 2026-01-31 09:30:00.
  const zoned = new Intl.DateTimeFormat("sv-SE", {
    year: "numeric", month: "2-digit", day: "2-digit",
    hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short",
  });
  const clock = new Intl.DateTimeFormat("sv-SE", {
    hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });

  // The same words as the server's.
  const ago = (moment, stored) => {
    const seconds = (Date.now() - moment) / 1000;
    if (seconds < -60) return stored.slice(0, 16).replace("T", " ");
    if (seconds < 10) return "just now";
    if (seconds < 60) return `${Math.floor(seconds)} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
    if (seconds < 2592000) return `${Math.floor(seconds / 86400)} d ago`;
    return stored.slice(0, 10);
  };

  const momentOf = (element) =>
    Date.parse(element.getAttribute("datetime").replace(/(\.\d{3})\d+/, "$1"));

  const tell = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  const tellTimes = (within) => {
    for (const element of within.querySelectorAll("time[datetime]")) {
      const moment = momentOf(element);
      if (Number.isNaN(moment)) continue;
      const exact = zoned.format(moment);
      if (element.title !== exact) element.title = exact;
      if ("clock" in element.dataset) continue;
      tell(element, "ago" in element.dataset ? ago(moment, element.getAttribute("datetime")) : exact);
    }
    tellClocks();
    tellDays();
  };

  const dayOf = (moment) => zoned.format(moment).slice(0, 10);
  const wordOf = (day) => (day === dayOf(Date.now()) ? "Today" : day);

  // The day stands above a turn if it is another one than that of the turn before it; before the
  // time of a run of a sub-agent, if it is another one than that of the run before it in the fold.
  const tellClocks = () => {
    const days = new Map();
    for (const element of document.querySelectorAll("time[data-clock]")) {
      const moment = momentOf(element);
      if (Number.isNaN(moment)) continue;
      const fold = element.closest(".inner");
      const day = dayOf(moment);
      const time = clock.format(moment);
      const same = day === (days.get(fold) ?? days.get(null));
      const above = fold ? null : element.closest("article")?.querySelector(":scope > .day");
      if (above) {
        tell(above, wordOf(day));
        above.hidden = same;
      }
      tell(element, same || above ? time : `${day} ${time}`);
      days.set(fold, day);
    }
  };

  // Of a list in the order of its times.
  const tellDays = () => {
    let before = null;
    for (const row of document.querySelectorAll("[data-days] > tbody > tr")) {
      const times = row.querySelectorAll("td:last-child time[datetime]");
      const moment = times.length ? momentOf(times[0]) : NaN;
      if (Number.isNaN(moment)) continue;
      const day = dayOf(moment);
      const cell = row.firstElementChild;
      if (day === before) delete cell.dataset.day;
      else cell.dataset.day = wordOf(day);
      before = day;
    }
  };

  // -- copying --

  const say = (text) => { document.getElementById("said").textContent = text; };

  const copy = async (button) => {
    const from = button.dataset.copyOf;
    const text = from ? document.getElementById(from).textContent : button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Browsers disable the clipboard over plain http from another machine: select the text instead.
      const box = document.createElement("textarea");
      box.value = text;
      button.after(box);
      box.select();
      document.execCommand("copy");
      box.remove();
    }
    button.textContent = "Copied";
    say("Copied");
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };

  // -- the tab key in a conversation --

  // Fifty turns have hundreds of links, folds and buttons. The tab key goes through those of one
  // turn, the current one, and on to what follows the conversation; j, k and the arrow keys make
  // another turn the current one, and so does a click.
  const STOPS = "a[href], button, summary, [tabindex]";
  let current = null;

  // A table that is wider than its place is moved with the arrow keys, once it has the focus.
  const isCut = (one) => one.matches(".scroll") && one.scrollWidth > one.clientWidth;

  const stopInOneTurn = () => {
    const turns = [...document.querySelectorAll(".turn[data-row]")];
    if (!turns.length) return;
    if (!current?.isConnected) {
      // The browser knows the target of the address only after the page is loaded.
      const named = document.getElementById(location.hash.slice(1));
      current = turns.find((turn) => turn.contains(named)) ?? turns[0];
    }
    for (const turn of turns) {
      for (const stop of turn.querySelectorAll(STOPS)) {
        stop.tabIndex = turn === current || isCut(stop) ? 0 : -1;
      }
    }
  };

  const onFocus = (event) => {
    const turn = event.target.closest?.(".turn[data-row]");
    if (!turn || turn === current) return;
    current = turn;
    stopInOneTurn();
  };

  const wake = (within) => {
    tellTimes(within);
    stopInOneTurn();
    for (const button of within.querySelectorAll("button.copy[hidden]")) button.hidden = false;
  };

  // -- keys --

  const STEPS = { j: 1, k: -1, ArrowDown: 1, ArrowUp: -1 };
  const rows = () => [...document.querySelectorAll("[data-row]")];
  let at = null;

  const step = (by) => {
    const all = rows();
    if (!all.length) return;
    const now = all.findIndex((row) => row === at || row.contains(document.activeElement));
    const next = all[Math.min(Math.max(now + by, 0), all.length - 1)];
    at?.classList.remove("at");
    at = next;
    at.classList.add("at");
    const link = at.querySelector("a.open");
    if (link) link.focus({ preventScroll: true });
    at.scrollIntoView({ block: "nearest" });
  };

  const onKey = (event) => {
    const target = event.target;
    const typing = target.matches?.("input, select, textarea, [contenteditable]");
    if (event.key === "Escape" && typing) { target.blur(); return; }
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const dialog = document.getElementById("help");
    if (event.key === "?") {
      event.preventDefault();
      if (dialog.open) dialog.close(); else dialog.showModal();
      return;
    }
    if (dialog.open) return;
    if (event.key === "/") {
      event.preventDefault();
      const search = document.getElementById("search");
      if (search) { search.focus(); search.select(); } else location.assign(`${document.querySelector("a.brand").href}#search`);
    } else if (event.key in STEPS) {
      if (event.key.startsWith("Arrow") && !target.matches(".turn a.open")) return;
      event.preventDefault();
      step(STEPS[event.key]);
    } else if (event.key === "Enter" && at && !target.closest("a, button, summary")) {
      at.querySelector("a.open")?.click();
    } else if (event.key === "u") {
      const up = document.querySelector("link[rel=up]");
      if (up) location.assign(up.href);
    }
  };

  // -- refreshing --

  // The last HTML from the server for each part: the page itself has local times and open folds.
  const sent = new Map();
  const parts = (within) => [...within.querySelectorAll("[data-live]")];
  const remember = (within) => {
    for (const part of parts(within)) sent.set(part.dataset.live, part.innerHTML);
  };

  const isBusy = (part) => {
    const selection = getSelection();
    const selected = selection && !selection.isCollapsed && selection.containsNode(part, true);
    return selected || (part.contains(document.activeElement) && part.tagName !== "TR");
  };

  // Each with its turn or run, its kind and its number among those: something may be folded above it
  // in the meantime.
  const foldsOf = (part) => {
    const seen = new Map();
    return [...part.querySelectorAll("details")].map((one) => {
      const kind = `${one.closest("article")?.id} ${one.className}`;
      const number = seen.get(kind) ?? 0;
      seen.set(kind, number + 1);
      return [`${kind} ${number}`, one];
    });
  };

  const replaceContent = (part, fresh) => {
    const open = new Map(foldsOf(part).map(([key, one]) => [key, one.open]));
    const focused = part.contains(document.activeElement);
    part.className = fresh.className + (part === at ? " at" : "");
    part.replaceChildren(...[...fresh.childNodes].map((node) => document.importNode(node, true)));
    for (const [key, one] of foldsOf(part)) {
      if (open.has(key)) one.open = open.get(key);
    }
    wake(part);
    if (focused) part.querySelector("a.open")?.focus({ preventScroll: true });
  };

  // Keeps the scroll position of the content when something above it grows.
  const withoutMoving = (change) => {
    const first = parts(document).find((part) => part.getBoundingClientRect().bottom > 60);
    const before = first?.getBoundingClientRect().top ?? 0;
    change();
    if (!first?.isConnected || scrollY === 0) return;
    const moved = first.getBoundingClientRect().top - before;
    if (Math.abs(moved) >= 1) scrollBy(0, moved);
  };

  const showNews = (count, apply) => {
    let news = document.querySelector(".news");
    if (!news) {
      news = document.createElement("div");
      news.className = "news";
      news.append(document.createElement("button"));
      document.querySelector("[data-rows]").closest(".scroll").before(news);
    }
    const button = news.firstElementChild;
    button.textContent = count === 1 ? "Show 1 change" : `Show ${count} changes`;
    button.onclick = () => { news.remove(); apply(); };
  };

  // The rows that are new, and those that another place among the others makes so: all but the most
  // that have kept their order. What has left the list is no news.
  const newsIn = (mine, theirs) => {
    const place = new Map(mine.map((key, number) => [key, number]));
    // The last place of the shortest possible run of so many rows in their old order.
    const ends = [];
    for (const key of theirs) {
      const at = place.get(key);
      if (at === undefined) continue;
      const length = ends.findIndex((end) => end >= at);
      ends[length < 0 ? ends.length : length] = at;
    }
    return theirs.length - ends.length;
  };

  const updateRows = (page) => {
    const table = document.querySelector("[data-rows] > tbody");
    const fresh = page.querySelector("[data-rows] > tbody");
    if (!table || !fresh) return Boolean(fresh);
    const keys = (body) => [...body.children].map((row) => row.dataset.live);
    const mine = keys(table), theirs = keys(fresh);
    // A file without sessions shows its runs: their list is another one than that of sessions.
    const kind = (all) => all[0]?.split(" ")[0];
    if (mine.length && theirs.length && kind(mine) !== kind(theirs)) return true;
    if (mine.join("\n") === theirs.join("\n") || theirs.includes(undefined)) return false;
    const apply = () => {
      at = null;
      table.replaceChildren(...[...fresh.children].map((row) => document.importNode(row, true)));
      remember(table);
      wake(table);
    };
    const reading = scrollY > 80 || table.contains(document.activeElement)
      || table.matches(":hover") || isBusy(table);
    const news = newsIn(mine, theirs);
    if (reading && news) {
      showNews(news, apply);
    } else {
      document.querySelector(".news")?.remove();
      if (!reading) apply();
    }
    return false;
  };

  const grow = (page) => {
    for (const list of document.querySelectorAll("[data-grows]")) {
      const fresh = page.querySelector(`[data-grows="${list.dataset.grows}"]`);
      if (!fresh) continue;
      // What came before the run that called it is inside of that one now.
      for (const part of parts(list)) {
        const run = part.dataset.live.replace(/^turn /, "run-");
        if (part.id !== run && fresh.querySelector(`#${CSS.escape(run)}`)) part.remove();
      }
      const known = new Set(parts(list).map((part) => part.dataset.live));
      for (const part of parts(fresh)) {
        if (known.has(part.dataset.live)) continue;
        const made = document.importNode(part, true);
        list.append(made);
        sent.set(part.dataset.live, part.innerHTML);
        wake(made);
      }
    }
  };

  // Milliseconds for which a page that was asked for may take to come.
  const LEAVING = 10000;
  let left = -Infinity;
  const leave = (event) => {
    if (event.type === "submit" || event.target.closest?.("a[href]")) left = Date.now();
  };

  // Returns the parts that are left as they are for now: somebody selects or writes in them.
  const update = (page) => {
    const busy = [];
    const mine = new Map(parts(document).map((part) => [part.dataset.live, part]));
    const isNew = (part) => !mine.has(part.dataset.live);
    // A new part has no place in this page (an empty file now has sessions): reload it.
    if (updateRows(page) || [...page.querySelectorAll("[data-anew]")].some(isNew)) {
      // But not while another page is being opened: that would be called off.
      if (Date.now() - left > LEAVING) location.reload();
      return busy;
    }
    live?.note(page);
    withoutMoving(() => {
      for (const fresh of parts(page)) {
        const part = mine.get(fresh.dataset.live);
        const html = fresh.innerHTML;
        if (!part || sent.get(fresh.dataset.live) === html) continue;
        if (isBusy(part)) {
          busy.push(fresh);
          continue;
        }
        sent.set(fresh.dataset.live, html);
        replaceContent(part, fresh);
      }
      grow(page);
    });
    const main = document.getElementById("main");
    main.dataset.refresh = page.querySelector("main")?.dataset.refresh ?? main.dataset.refresh;
    return busy;
  };

  let failures = 0;
  // The last part of a conversation goes on, past what one page has at first.
  let grows = false;

  // Where the live parts of this page are: all at once (`1`), or as they change (`stream`).
  const liveAddress = (how) => {
    const main = document.getElementById("main");
    const address = new URL(main.dataset.liveFrom || location.href, location.href);
    address.hash = "";
    address.searchParams.set("live", how);
    if (grows) address.searchParams.set("grows", "1");
    return address;
  };

  // What the page shows is no longer in the file: it stays, and is not asked for any more.
  let gone = false;
  const tellGone = () => {
    if (gone) return;
    gone = true;
    const told = document.createElement("p");
    told.className = "problem";
    told.textContent = "This was deleted. What is shown here is no longer in the file.";
    document.getElementById("main").prepend(told);
    say(told.textContent);
  };

  // The page, or the part of one, at an address; raises the status where it is not there.
  const fetched = async (address) => {
    const answer = await fetch(address, { headers: { Accept: "text/html" }, redirect: "error" });
    if (!answer.ok) throw new Error(String(answer.status));
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };

  const refresh = async () => {
    try {
      update(await fetched(liveAddress("1")));
      failures = 0;
    } catch (error) {
      if (error.message === "404") return tellGone();
      failures += 1;
      if (failures > 1) {
        const line = document.getElementById("upload");
        line.className = "upload needs";
        line.textContent = "no answer: reload the page";
        sent.delete("upload");
        live?.forget("upload");
      }
    }
  };

  const keepFresh = async () => {
    const seconds = Number(document.getElementById("main").dataset.refresh) || 15;
    const wait = Math.min(seconds * 2 ** failures, 60);
    await new Promise((done) => setTimeout(done, wait * 1000));
    if (document.visibilityState !== "visible") {
      await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
    }
    if (!live?.isOpen()) await refresh();
    if (!gone) keepFresh();
  };

  // -- filters --

  // A day of a field begins and ends when it does so for the viewer: its offset goes with it.
  const inZone = (field) => {
    if (!field.value) return;
    const clock = field.name === "until" ? "23:59:59.999999" : "00:00:00";
    const ahead = -new Date(`${field.value}T${clock.slice(0, 8)}`).getTimezoneOffset();
    const [hours, minutes] = [Math.floor(Math.abs(ahead) / 60), Math.abs(ahead) % 60];
    const two = (number) => String(number).padStart(2, "0");
    const moment = `${field.value}T${clock}${ahead < 0 ? "-" : "+"}${two(hours)}:${two(minutes)}`;
    field.dataset.day = "";
    field.type = "text";
    field.value = moment;
  };

  document.addEventListener("DOMContentLoaded", () => {
    remember(document);
    live?.note(document);
    grows = Boolean(document.querySelector("[data-grows]") && !document.querySelector(".pager"));
    showTheme();
    wake(document);
    document.getElementById("theme").addEventListener("click", nextTheme);
    document.getElementById("keys").addEventListener("click", (event) => {
      event.preventDefault();
      document.getElementById("help").showModal();
    });
    document.addEventListener("keydown", onKey);
    document.addEventListener("click", leave);
    document.addEventListener("submit", leave);
    document.addEventListener("focusin", onFocus);
    document.addEventListener("toggle", stopInOneTurn, true);
    window.addEventListener("resize", stopInOneTurn);
    window.addEventListener("hashchange", () => { current = null; stopInOneTurn(); });
    document.addEventListener("click", (event) => {
      const button = event.target.closest?.("button.copy");
      if (button) copy(button);
    });
    for (const select of document.querySelectorAll(".filters select")) {
      select.addEventListener("change", () => select.form.requestSubmit());
    }
    for (const note of document.querySelectorAll("[data-zone]")) note.textContent = "in your time zone";
    // Leave empty fields out of the URL; a day is one of the viewer's zone.
    for (const form of document.querySelectorAll("form.filters")) {
      form.addEventListener("submit", () => {
        for (const field of form.querySelectorAll("input[type=date]")) inZone(field);
        for (const field of form.elements) field.disabled ||= field.name !== "" && field.value === "";
      });
    }
    // On "Back" the browser restores typed values, but the fields must match the list.
    window.addEventListener("pageshow", () => {
      for (const form of document.querySelectorAll("form.filters")) {
        for (const field of form.elements) field.disabled = false;
        for (const field of form.querySelectorAll("[data-day]")) field.type = "date";
        form.reset();
      }
    });
    // A turn in another part of the conversation.
    const turn = /^#turn-(\d+)$/.exec(location.hash);
    const turns = Number(document.querySelector("[data-turns]")?.dataset.turns ?? 0);
    if (turn && !document.getElementById(location.hash.slice(1)) && turn[1] >= 1 && turn[1] <= turns) {
      const there = new URL(location.href);
      if (there.searchParams.get("turn") !== turn[1]) {
        there.searchParams.delete("offset");
        there.searchParams.set("turn", turn[1]);
        location.replace(there);
      }
    }
    if (location.hash === "#search") document.getElementById("search")?.focus();
    setInterval(() => tellTimes(document), 20000);
    live?.start({
      update, refresh, remember, wake, withoutMoving, say, liveAddress, fetched, tellGone, isGone: () => gone,
      // Another part of the conversation is the last on this page.
      moveTo: (address, last) => {
        document.getElementById("main").dataset.liveFrom = address;
        grows = last;
      },
    });
    keepFresh();
  });
})();
