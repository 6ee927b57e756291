// Optional script of the pages: an open page is told what has changed on it, by a stream of events
// that carry the changed parts alone. Where there is no stream, app.js asks for all parts instead.
(() => {
  "use strict";

  // More parts than this make a header that proxies refuse.
  const MOST_MARKS = 400;
  // Milliseconds: without a sign of the server, the stream has broken off.
  const SILENCE = 45000;
  // A browser that got no stream asks again; one that was cut off does so at once, then less often.
  const ASK_AGAIN = 60000;
  const LONGEST_WAIT = 30000;
  const WELL = 5000;
  // What is large and not urgent is fetched at most so often.
  const SLOW = 30000;
  const BROWSER = "waxlocal-browser";

  // What app.js offers: how to apply parts of a page.
  let page;
  // The mark of each part, as the server has made it: what this page has.
  const marks = new Map();
  // The rows of the list by mark, as they came: also those that wait for a click.
  const rows = new Map();
  // Parts that came while somebody selected text in them.
  const held = new Map();
  let stream = null;
  let failures = 0;
  let retry = 0;

  const browser = () => {
    try {
      let id = localStorage.getItem(BROWSER);
      if (!id) {
        id = [...crypto.getRandomValues(new Uint8Array(12))].map((one) => one.toString(16)).join("");
        localStorage.setItem(BROWSER, id);
      }
      return id;
    } catch { return ""; /* storage is forbidden: the server counts by address */ }
  };

  const note = (within) => {
    for (const part of within.querySelectorAll("[data-live][data-mark]")) {
      marks.set(part.dataset.live, part.dataset.mark);
      if (part.tagName === "TR") rows.set(part.dataset.mark, part.cloneNode(true));
    }
  };

  const elementOf = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content.firstElementChild;
  };

  // -- applying --

  const within = (tag, name, value, ...content) => {
    const made = document.createElement(tag);
    if (name) made.setAttribute(name, value);
    made.append(...content);
    return made;
  };

  // The whole list as it is now.
  const listOf = (order) => {
    const all = order.map((mark) => rows.get(mark)?.cloneNode(true));
    if (all.every(Boolean)) return within("table", "data-rows", "", within("tbody", "", "", ...all));
    page.refresh(); // a row is not here: ask for all of them
    return "";
  };

  // The parts, each where the page has it, as app.js takes them.
  const asPage = (parts, order) => {
    const made = document.createDocumentFragment();
    const lists = new Map();
    for (const [part, grows] of parts) {
      if (part.tagName === "TR") {
        rows.set(part.dataset.mark, part.cloneNode(true));
        if (!order.length) made.append(within("table", "", "", within("tbody", "", "", part)));
      } else if (grows) {
        if (!lists.has(grows)) lists.set(grows, within("div", "data-grows", grows));
        lists.get(grows).append(part);
      } else made.append(part);
    }
    made.append(...lists.values());
    if (order.length) made.append(listOf(order));
    return made;
  };

  const show = (parts, order) => {
    const busy = page.update(asPage(parts, order));
    for (const part of busy) held.set(part.dataset.live, part);
  };

  // A turn that was deleted, or that has moved into another.
  const remove = (old, parts) => {
    const now = new Set(parts.map(([part]) => part.dataset.live));
    const gone = new Set(old);
    for (const [key, mark] of marks) {
      if (!gone.has(mark) || now.has(key)) continue;
      marks.delete(key);
      const part = document.querySelector(`[data-grows] > [data-live="${CSS.escape(key)}"]`);
      if (part) page.withoutMoving(() => part.remove());
    }
  };

  const change = (said) => {
    const parts = said.parts.map(([html, grows]) => [elementOf(html), grows]);
    for (const [part] of parts) held.delete(part.dataset.live);
    remove(said.old, parts);
    const before = newest();
    show(parts, said.rows);
    document.getElementById("main").dataset.refresh = said.refresh;
    for (const key of said.slow) later(key);
    const shown = new Set(said.rows);
    for (const mark of rows.keys()) if (!shown.has(mark)) rows.delete(mark);
    announce(before);
  };

  const release = () => {
    if (!held.size) return;
    const parts = [...held.values()].map((part) => [part, ""]);
    held.clear();
    show(parts, []);
  };

  // -- large parts --

  const wanted = new Set();
  let tried = 0;
  let waiting = false;

  const later = (key) => {
    wanted.add(key);
    if (waiting) return;
    waiting = true;
    // The first one at once; one that is out of view, or that did not come, like all others.
    setTimeout(fetchWanted, tried ? SLOW : 0);
  };

  const fetchWanted = async () => {
    waiting = false;
    tried = Date.now();
    for (const key of [...wanted]) {
      wanted.delete(key);
      const part = document.querySelector(`[data-live="${CSS.escape(key)}"]`);
      const box = part?.getBoundingClientRect();
      const isSeen = box && document.visibilityState === "visible"
        && box.top < innerHeight && (box.bottom > 0 || !box.height);
      if (!isSeen) { if (part) later(key); continue; }
      const address = page.liveAddress("1");
      address.searchParams.set("part", key);
      try {
        const fresh = (await page.fetched(address)).body.firstElementChild;
        if (fresh) show([[fresh, ""]], []);
      } catch { later(key); }
    }
  };

  // -- the stream --

  const hear = (block) => {
    let kind = "message";
    const data = [];
    for (const line of block.split("\n")) {
      if (line.startsWith("event: ")) kind = line.slice(7);
      else if (line.startsWith("data: ")) data.push(line.slice(6));
    }
    if (kind === "change") change(JSON.parse(data.join("\n")));
    else if (kind === "gone") page.tellGone();
    return kind === "gone";
  };

  // Returns whether the page is gone; raises when the stream breaks off.
  const read = async (body, alive) => {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return false;
      alive();
      text += value;
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) if (hear(block)) return true;
    }
  };

  const again = (wait) => {
    clearTimeout(retry);
    retry = setTimeout(open, wait);
  };

  const open = async () => {
    if (stream || page.isGone() || document.visibilityState !== "visible" || marks.size > MOST_MARKS) return;
    const mine = stream = { control: new AbortController(), open: false };
    let silence = 0;
    const alive = () => {
      clearTimeout(silence);
      silence = setTimeout(() => mine.control.abort(), SILENCE);
    };
    let wait = Math.min(500 * 2 ** failures, LONGEST_WAIT);
    try {
      alive();
      const answer = await fetch(page.liveAddress("stream"), {
        headers: {
          "Accept": "text/event-stream",
          "Waxlocal-Marks": [...marks.values()].join(","),
          "Waxlocal-Browser": browser(),
        },
        signal: mine.control.signal, redirect: "error", cache: "no-store",
      });
      if (answer.status === 204) wait = ASK_AGAIN;
      else if (answer.status === 404) page.tellGone();
      else if (!answer.ok) throw new Error(String(answer.status));
      else {
        const began = Date.now();
        const came = () => {
          // Not before: a proxy may have kept what comes after the headers.
          mine.open = true;
          // Nor is it well at once: it may break off again and again.
          if (Date.now() - began > WELL) failures = 0;
          alive();
        };
        if (await read(answer.body, came)) wait = Infinity;
        else failures += 1;
      }
    } catch { failures += 1; }
    clearTimeout(silence);
    if (stream !== mine) return;
    stream = null;
    if (wait !== Infinity && !page.isGone()) again(wait * (1 + Math.random() / 4));
  };

  const close = () => {
    clearTimeout(retry);
    stream?.control.abort();
    stream = null;
  };

  const reopen = () => { close(); open(); };

  // -- new turns --

  const list = () => document.querySelector("[data-grows=turns]");
  const turns = () => [...(list()?.querySelectorAll(":scope > article.turn") ?? [])];
  const newest = () => turns().at(-1) ?? null;
  const FOLLOW = `waxlocal-follow ${location.pathname}`;
  const JUMP = "jump";
  let follows = false;
  // The first turn that nobody has seen yet, and how many there are.
  let unseen = null;
  let dock, newer, follow;

  const counted = (count) => (count === 1 ? "1 new turn" : `${count} new turns`);

  const showDock = () => {
    const all = turns();
    const count = unseen?.isConnected ? all.length - all.indexOf(unseen) : 0;
    newer.hidden = !count;
    const text = `${counted(count)} ↓`;
    if (count && newer.textContent !== text) {
      newer.textContent = text;
      page.say(counted(count));
    }
    follow.setAttribute("aria-pressed", String(follows));
  };

  const toEnd = () => {
    unseen = null;
    lastY = Infinity;
    newest()?.scrollIntoView({ block: "end" });
    lastY = scrollY;
  };

  const announce = (before) => {
    if (!dock) return;
    const last = newest();
    if (last !== before && last) {
      const all = turns();
      const first = all[all.indexOf(before) + 1];
      if (!follows && first.getBoundingClientRect().top > innerHeight - 40) unseen ??= first;
    }
    if (follows) toEnd();
    showDock();
  };

  const remember = (value) => {
    try {
      if (value) sessionStorage.setItem(FOLLOW, value);
      else sessionStorage.removeItem(FOLLOW);
    } catch { /* it lasts as long as the page */ }
  };

  // Whether the page was being followed at this address: who opens another one wants what is there.
  const here = () => location.search || "?";
  const wasFollowed = () => {
    try { return [JUMP, here()].includes(sessionStorage.getItem(FOLLOW)); } catch { return false; }
  };

  const setFollow = (on) => {
    follows = on;
    remember(on ? here() : null);
    if (on && laterLink()) {
      remember(JUMP);
      const there = new URL(location.href);
      there.hash = "";
      there.searchParams.delete("offset");
      there.searchParams.set("turn", list().dataset.turns);
      location.assign(there);
      return;
    }
    if (on) toEnd();
    showDock();
  };

  let lastY = 0;
  let lastHeight = 0;
  const scrolled = () => {
    const height = document.documentElement.scrollHeight;
    // Up, and not because something has become smaller.
    if (follows && scrollY < lastY - 4 && height >= lastHeight) setFollow(false);
    lastY = scrollY;
    lastHeight = height;
    if (unseen && unseen.getBoundingClientRect().top < innerHeight - 40) {
      unseen = null;
      showDock();
    }
  };

  // -- earlier and later turns --

  const laterLink = () => document.querySelector("[data-live=later] a[rel=next]");

  const partAt = async (href) => {
    const address = new URL(href, location.href);
    address.searchParams.set("live", "1");
    return page.fetched(address);
  };

  // Those that are not here yet.
  const turnsIn = (fetched) => {
    const made = document.createDocumentFragment();
    for (const one of fetched.querySelectorAll("[data-grows=turns] > article.turn")) {
      if (!document.getElementById(one.id)) made.append(document.importNode(one, true));
    }
    page.remember(made);
    return made;
  };

  // What is no longer told of stays as it is.
  const stay = (some) => {
    for (const one of some) {
      delete one.dataset.mark;
      marks.delete(one.dataset.live);
    }
  };

  const loadLater = async (link) => {
    const fetched = await partAt(link.href);
    if (!link.isConnected) return;
    stay(turns());
    list().append(turnsIn(fetched));
    page.moveTo(link.href, !fetched.querySelector("[data-live=later] a[rel=next]"));
    note(fetched);
    show([[document.importNode(fetched.querySelector("[data-live=later]"), true), ""]], []);
    page.wake(list());
    reopen();
  };

  const loadEarlier = async (link) => {
    const fetched = await partAt(link.href);
    if (!link.isConnected) return;
    const more = turnsIn(fetched);
    stay([...more.children]);
    const first = turns()[0];
    const before = first?.getBoundingClientRect().top ?? 0;
    list().prepend(more);
    page.wake(list());
    const next = fetched.getElementById("earlier");
    if (next) link.href = next.getAttribute("href");
    else link.parentElement.remove();
    if (first) scrollBy(0, first.getBoundingClientRect().top - before);
  };

  // A link that is nearly in view is followed by itself.
  const watched = new IntersectionObserver((seen) => {
    for (const one of seen) if (one.isIntersecting) followLink(one.target);
  }, { rootMargin: "400px" });

  const followLink = async (link) => {
    watched.unobserve(link);
    try {
      await (link.id === "earlier" ? loadEarlier(link) : loadLater(link));
    } catch { return; /* the link still leads there */ }
    watchLinks();
  };

  const watchLinks = () => {
    watched.disconnect();
    for (const link of [document.getElementById("earlier"), laterLink()]) if (link) watched.observe(link);
  };

  const startTurns = () => {
    dock = within("div", "class", "dock");
    newer = within("button", "class", "newer");
    follow = within("button", "class", "follow", "Follow");
    for (const button of [newer, follow]) button.type = "button";
    follow.title = "Keep the newest turn in view";
    dock.append(newer, follow);
    document.querySelector(".talk").append(dock);
    newer.addEventListener("click", () => {
      const first = unseen;
      unseen = null;
      first?.scrollIntoView({ block: "start" });
      showDock();
    });
    follow.addEventListener("click", () => setFollow(!follows));
    addEventListener("scroll", scrolled, { passive: true });
    setFollow(wasFollowed());
    showDock();
    // Once the part is where its address says; before, everything is in view.
    addEventListener("load", watchLinks);
    new MutationObserver(watchLinks)
      .observe(document.querySelector("[data-live=later]"), { childList: true, subtree: true });
  };

  const start = (offered) => {
    page = offered;
    if (list()) startTurns();
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") reopen();
      else close();
    });
    addEventListener("pagehide", close);
    addEventListener("pageshow", (event) => { if (event.persisted) reopen(); });
    addEventListener("online", reopen);
    setInterval(release, 1000);
    open();
  };

  // The page has another address now, and this part. What was held is of the address before it.
  const turnTo = (part) => {
    held.clear();
    marks.set(part.dataset.live, part.dataset.mark);
    reopen();
  };

  window.waxlocalLive = {
    start, note, turnTo, isOpen: () => Boolean(stream?.open), forget: (key) => marks.delete(key),
  };
})();
