// Optional script of the pages: keys, copying, filters, and refreshing without scrolling. The pages also
// work without it. Scripts beside it, which come first: theme.js, times.js, trace.js, live.js.
(() => {
  "use strict";

  // live.js: the page is told what has changed. Without it, or without a stream, it asks.
  const live = window.waxlocalLive;
  const times = window.waxlocalTimes;
  const trace = window.waxlocalTrace;

  // -- copying --

  const say = (text) => { document.getElementById("said").textContent = text; };

  // The words below a heading: all that the page has, also while they are folded. A block of code has
  // its language and a button of its own above it.
  const wordsBelow = (heading) => {
    const within = heading.parentElement;
    const found = within.querySelector(".fold > :is(.text, .rendered, pre)")
      ?? within.querySelector(".text, .rendered, pre");
    const words = found?.cloneNode(true);
    for (const one of words?.querySelectorAll(".listing > :not(pre)") ?? []) one.remove();
    return words?.textContent.trim() ?? "";
  };

  // Made here: without a script a button for each message would do nothing, and pages carry many.
  const addCopies = (within) => {
    for (const heading of within.querySelectorAll(".said > section > h2, .value:not(:has(h4)) > h3, .message > h4")) {
      if (heading.querySelector(".copy") || !wordsBelow(heading)) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.setAttribute("aria-label", `Copy the words: ${heading.textContent.trim()}`);
      heading.append(button);
    }
  };

  const copy = async (button) => {
    const { copy: given, copyOf: from } = button.dataset;
    const text = given ?? (from ? document.getElementById(from).textContent : wordsBelow(button.parentElement));
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
    const isCut = !given && button.parentElement.parentElement.querySelector(".cut");
    button.textContent = isCut ? "Copied in part" : "Copied";
    say(isCut ? "Copied as far as it is on this page" : "Copied");
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
    times.tell(within);
    addCopies(within);
    trace.stop();
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
    const focused = all.findIndex((row) => row.contains(document.activeElement));
    const begin = at ?? all.find((row) => row.querySelector(".open[aria-current]"));
    const now = focused < 0 ? all.indexOf(begin) : focused;
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
      if (event.key.startsWith("Arrow") && !target.matches(".turn a.open, .trace a.open")) return;
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
    const focused = document.activeElement;
    const isIn = part.contains(focused) && part.tagName !== "TR" && !focused.matches(".trace a.open");
    return selected || isIn;
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

  const replaceContent = (part, fresh, isSame = true) => {
    const open = new Map(isSame ? foldsOf(part).map(([key, one]) => [key, one.open]) : []);
    const focused = part.contains(document.activeElement) && document.activeElement;
    part.className = fresh.className + (part === at ? " at" : "");
    // Those of a turn have its number.
    for (const name of ["id", "aria-label"]) {
      if (fresh.hasAttribute(name)) part.setAttribute(name, fresh.getAttribute(name));
    }
    part.replaceChildren(...[...fresh.childNodes].map((node) => document.importNode(node, true)));
    for (const [key, one] of foldsOf(part)) {
      if (open.has(key)) one.open = open.get(key);
    }
    wake(part);
    if (!focused) return;
    const same = [...part.querySelectorAll("a[href]")].find((link) => link.href === focused.href);
    (same ?? part.querySelector("a.open"))?.focus({ preventScroll: true });
  };

  // A part that came by itself, because somebody asked for it.
  const showPart = (fresh) => {
    sent.set(fresh.dataset.live, fresh.innerHTML);
    const part = parts(document).find((one) => one.dataset.live === fresh.dataset.live);
    replaceContent(part, fresh, false); // of something else: its folds are others
  };

  // Keeps the scroll position of the content when something above it grows.
  const withoutMoving = (change) => {
    // What fills most of the window is what somebody reads.
    const seen = (part) => {
      const { top, bottom } = part.getBoundingClientRect();
      return Math.min(bottom, innerHeight) - Math.max(top, 60);
    };
    const [most] = parts(document).filter((part) => seen(part) > 0).sort((a, b) => seen(b) - seen(a));
    const before = most?.getBoundingClientRect().top ?? 0;
    change();
    if (!most?.isConnected || scrollY === 0) return;
    const moved = most.getBoundingClientRect().top - before;
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
    if (event.defaultPrevented) return;
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

  // The turns of this part of the conversation, as they were told last.
  let told = { from: "", turns: [] };
  const noteTurns = (page, from) => {
    const turns = [...page.querySelectorAll("[data-grows] > [data-live]")].map((one) => one.dataset.live);
    // One that is not there any more was deleted, or has moved into another.
    const gone = told.from === from ? told.turns.filter((key) => !turns.includes(key)) : [];
    for (const key of gone) {
      document.querySelector(`[data-grows] > [data-live="${CSS.escape(key)}"]`)?.remove();
    }
    told = { from, turns };
  };

  const refresh = async () => {
    try {
      const address = liveAddress("1");
      const page = await fetched(address);
      // Another row was selected meanwhile, or another part of the conversation is here.
      if (liveAddress("1").href !== address.href) return;
      update(page);
      withoutMoving(() => noteTurns(page, address.href));
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
    noteTurns(document, liveAddress("1").href);
    wake(document);
    document.getElementById("keys").addEventListener("click", (event) => {
      event.preventDefault();
      document.getElementById("help").showModal();
    });
    document.addEventListener("keydown", onKey);
    // Before `leave` hears of a click.
    trace.start({ fetched, liveAddress, showPart, say, tellGone, follow: (part) => live?.turnTo(part) });
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
    setInterval(() => times.tell(document), 20000);
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
