// Live updates. The server tells that the pool has changed, and the page asks for itself again. What differs is changed in place,
// so that focus, selection, scroll position and what was typed stay.
"use strict";
(() => {
  const body = document.body, base = body.dataset.base;

  // span is a time in seconds as words, as the server writes it.
  function span(s) {
    if (s < 60) return (s < 10 ? s.toFixed(1) : Math.floor(s)) + " s";
    if (s < 3600) return Math.floor(s / 60) + " min";
    const [big, small, a, b] = s < 86400 ? [3600, 60, "h", "min"] : [86400, 3600, "d", "h"];
    const n = Math.floor(s / big), rest = Math.floor(s % big / small);
    return n + " " + a + (rest > 0 && n < 10 ? " " + rest + " " + b : "");
  }

  // The clocks of the browser and of the server may differ. skew is what the server's is ahead, in milliseconds.
  let skew = 0;
  function tick() {
    const now = Date.now() + skew;
    for (const t of document.querySelectorAll("time[datetime]")) {
      const s = (now - Date.parse(t.dateTime)) / 1000;
      const text = s >= 0 && s < 1 ? "now" : s < 0 ? "in " + span(-s) : span(Math.max(s < 10 ? Math.floor(s) : s, 1)).replace(".0", "") + " ago";
      if (t.firstChild && t.firstChild.nodeValue !== text) t.firstChild.nodeValue = text;
    }
  }

  // keyOf is what says that two elements are the same.
  const keyOf = (n) => n.nodeType === 1 ? n.id || null : null;
  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

  // morph makes an element what another one is.
  function morph(from, to) {
    if (from.nodeType !== 1) {
      if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
      return;
    }
    if (from.dataset.keep !== undefined) return;
    for (const { name, value } of [...to.attributes]) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && name !== "open") from.removeAttribute(name);
    if (from.nodeName === "TIME") { // tick writes its words
      if (!from.firstChild) from.append(to.textContent);
      return;
    }
    children(from, to);
  }

  function children(from, to) {
    const keyed = new Map();
    for (const n of from.childNodes) if (keyOf(n)) keyed.set(keyOf(n), n);
    let at = from.firstChild;
    for (const want of [...to.childNodes]) {
      const key = keyOf(want);
      let have = key ? keyed.get(key) : at;
      while (!key && have && keyOf(have) && alike(have, want) === false) have = have.nextSibling;
      if (have && alike(have, want)) {
        if (have !== at) {
          // Elements that are gone are removed rather than others moved: an element that is moved loses focus.
          while (at && at !== have && !stays(at, to)) { const next = at.nextSibling; at.remove(); at = next; }
          if (at !== have) from.insertBefore(have, at);
        }
        at = have.nextSibling;
        morph(have, want);
        continue;
      }
      const node = document.importNode(want, true);
      if (key && node.nodeName === "TR") node.classList.add("new");
      from.insertBefore(node, at);
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  }

  const stays = (n, to) => { const key = keyOf(n); return key && [...to.children].some((c) => c.id === key); };

  // inView returns an element that is to stay where it is while others come and go above it.
  function inView() {
    const visible = (e) => { const r = e.getBoundingClientRect(); return r.height > 0 && r.bottom > 0 && r.top < innerHeight; };
    const focused = document.activeElement;
    if (focused !== body && visible(focused)) return focused;
    return [...document.querySelectorAll("main [id]")].find(visible);
  }

  // update asks for the page again. One request is under way at a time, and they begin at most once a second.
  let asking = false, again = false, last = 0, shown = null;
  async function update() {
    if (document.hidden || asking) { again = true; return; }
    asking = true; again = false;
    await new Promise((done) => setTimeout(done, Math.max(0, last + 900 - Date.now())));
    last = Date.now();
    try {
      const answer = await fetch(location.href, { cache: "no-cache", credentials: "same-origin", headers: { "Berth-Live": "1" } });
      const date = Date.parse(answer.headers.get("Date"));
      if (date && Math.abs(date - Date.now()) > 3000) skew = date - Date.now();
      if (answer.ok || answer.status === 404) {
        const text = await answer.text();
        if (text !== shown) {
          shown = text;
          const next = new DOMParser().parseFromString(text, "text/html");
          document.title = next.title;
          if (next.body.dataset.again) body.dataset.again = next.body.dataset.again; else delete body.dataset.again;
          const anchor = scrollY > 0 ? inView() : null, top = anchor && anchor.getBoundingClientRect().top;
          children(body, next.body);
          tick();
          if (anchor && anchor.isConnected) scrollBy({ top: anchor.getBoundingClientRect().top - top, behavior: "instant" });
        }
        state("live");
      } else state("lost");
    } catch { state("lost"); }
    asking = false;
    if (again && !document.hidden) update();
  }

  // state shows whether the page follows the pool.
  const conn = document.getElementById("conn");
  function state(word) {
    conn.hidden = false;
    if (conn.dataset.state === word) return;
    conn.dataset.state = word;
    conn.textContent = word === "live" ? "live" : "not live: trying again";
  }

  document.addEventListener("keyup", (e) => {
    if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.nodeName)) return;
    const search = document.querySelector("input[type=search]");
    if (search) { search.focus(); search.select(); }
  });
  setInterval(tick, 1000);
  if (body.dataset.live === undefined) return;
  // Some of a page may change although the pool does not.
  let rest = 0;
  setInterval(() => {
    if (++rest < body.dataset.again || body.dataset.again === undefined) return;
    rest = 0;
    update();
  }, 1000);
  const source = new EventSource(base + "live");
  source.addEventListener("change", update);
  source.addEventListener("error", () => state("lost"));
  source.addEventListener("open", () => state("live"));
  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) update(); });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
})();
