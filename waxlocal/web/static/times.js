// Optional script of the pages: times in the zone of the viewer, and days where they change there.
(() => {
  "use strict";

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

  const say = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  const tell = (within) => {
    for (const element of within.querySelectorAll("time[datetime]")) {
      const moment = momentOf(element);
      if (Number.isNaN(moment)) continue;
      const exact = zoned.format(moment);
      if (element.title !== exact) element.title = exact;
      if ("clock" in element.dataset) continue;
      say(element, "ago" in element.dataset ? ago(moment, element.getAttribute("datetime")) : exact);
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
        say(above, wordOf(day));
        above.hidden = same;
      }
      say(element, same || above ? time : `${day} ${time}`);
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

  window.waxlocalTimes = { tell };
})();
