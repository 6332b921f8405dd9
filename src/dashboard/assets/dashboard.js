// What a page needs a browser for: its zone, and fetching itself again when something
// has changed. Everything else works without.
"use strict";

(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const shown = document.getElementById("zone");
  if (zone) {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `herald_zone=${encodeURIComponent(zone)}; Path=/dashboard; Max-Age=31536000; SameSite=Lax${secure}`;
  }

  const regions = () => document.querySelectorAll("[data-live]");
  const live = document.getElementById("live");
  if (!live || regions().length === 0) return;
  const say = (text) => { if (live.textContent !== text) live.textContent = text; };

  // A region that somebody is working in stays as it is until they leave it; what was
  // opened stays open.
  const replace = (old, fresh) => {
    if (old.innerHTML === fresh.innerHTML) return;
    const active = document.activeElement;
    if (active && active !== document.body && old.contains(active) && active !== old) {
      // A button must not become another one under somebody's hand.
      if (active.closest("form") || /^(INPUT|SELECT|TEXTAREA)$/.test(active.tagName)) return;
    }
    const open = [...old.querySelectorAll("details")].map((one) => one.open);
    const path = active && old.contains(active) ? place(old, active) : null;
    const scrolled = [...old.querySelectorAll(".wide, pre")].map((one) => one.scrollLeft);
    old.innerHTML = fresh.innerHTML;
    old.querySelectorAll("details").forEach((one, at) => { one.open = open[at] ?? one.open; });
    old.querySelectorAll(".wide, pre").forEach((one, at) => { one.scrollLeft = scrolled[at] ?? 0; });
    if (path) find(old, path)?.focus({ preventScroll: true });
    old.classList.remove("fresh");
    void old.offsetWidth;
    old.classList.add("fresh");
  };
  const place = (root, node) => {
    const path = [];
    for (let at = node; at !== root; at = at.parentElement) path.unshift([...at.parentElement.children].indexOf(at));
    return path;
  };
  const find = (root, path) => path.reduce((at, index) => at?.children[index], root);

  let busy = false;
  let again = false;
  const refresh = async () => {
    if (document.hidden) { again = true; return; }
    if (busy) { again = true; return; }
    busy = true;
    again = false;
    try {
      const response = await fetch(location.href, { credentials: "same-origin", redirect: "manual", cache: "no-store", headers: { "X-Herald-Refresh": "1" } });
      if (response.type === "opaqueredirect") { location.reload(); return; }
      if (response.ok) {
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        for (const old of regions()) {
          const fresh = page.getElementById(old.id);
          if (fresh) replace(old, fresh);
        }
        const name = page.getElementById("zone");
        if (shown && name) shown.textContent = name.textContent;
        say("live");
      }
    } catch {
      say("no connection");
    } finally {
      setTimeout(() => { busy = false; if (again) refresh(); }, 1000);
    }
  };

  // The first page of a browser was told in another zone.
  if (shown && zone && shown.dataset.zone !== zone) refresh();

  // What changes because time passes is not told.
  setInterval(refresh, 15000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) refresh(); });

  const events = new EventSource("/dashboard/live");
  events.addEventListener("open", () => say("live"));
  events.addEventListener("changed", refresh);
  events.addEventListener("error", () => {
    say("no connection");
    // Whoever is not let in any more is asked to log in.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
  });
})();
