// Keeps the changing part of a page fresh: events, a timer, and one fetch of HTML for a burst of events.
// Events come from a worker that all pages of this browser share, so that they hold one stream together; a browser
// without such workers has a stream for each page that is seen.
// The new HTML is merged into the page, not put in its place: focus, open menus, typed text and scrolling stay.
(function () {
  "use strict";
  const body = document.body;
  const SETTLE_MS = 120;
  const RETRY_MS = 10000;
  const WITHOUT_STREAM_SECONDS = 4;
  let due = null;
  let busy = false;
  let again = false;
  let source = null; // The page's own stream, where workers cannot be shared.
  let worker = null;
  let hearing = false;
  let timer = null;
  let last = 0;
  let sent = 0; // When a form of the page was sent: where that leads the browser is going already.

  function syncAttributes(from, to) {
    for (const one of [...from.attributes]) {
      const kept = one.name === "open" || one.name.startsWith("data-hx") || one.name === "disabled";
      if (!to.hasAttribute(one.name) && !kept) { from.removeAttribute(one.name); }
    }
    for (const one of to.attributes) {
      if (from.getAttribute(one.name) !== one.value) { from.setAttribute(one.name, one.value); }
    }
  }

  // Makes the children of `from` like those of `to`. Elements with an id are matched by it, others by their place.
  function merge(from, to) {
    const wanted = new Set([...to.children].map((one) => one.id).filter(Boolean));
    const known = new Map();
    for (const one of [...from.children]) {
      if (one.id && !wanted.has(one.id)) { one.remove(); } else if (one.id) { known.set(one.id, one); }
    }
    let here = from.firstChild;
    for (const node of [...to.childNodes]) {
      let match = null;
      if (node.id) {
        match = known.get(node.id) || null;
        while (match && here && here !== match && !here.id) {
          const gone = here;
          here = here.nextSibling;
          gone.remove();
        }
      } else if (here && !here.id && here.nodeName === node.nodeName) {
        match = here;
      }
      if (match && match.nodeName !== node.nodeName) { match.remove(); match = null; }
      if (!match) { from.insertBefore(document.importNode(node, true), here); continue; }
      if (match === here) { here = here.nextSibling; } else { from.insertBefore(match, here); }
      if (match.nodeType === Node.ELEMENT_NODE) {
        syncAttributes(match, node);
        merge(match, node);
      } else if (match.nodeValue !== node.nodeValue) {
        match.nodeValue = node.nodeValue;
      }
    }
    while (here) {
      const gone = here;
      here = here.nextSibling;
      gone.remove();
    }
  }

  function setOffline(lost) { document.getElementById("offline").hidden = !lost; }

  async function refresh() {
    due = null;
    if (busy) { again = true; return; }
    const target = document.querySelector(body.dataset.refresh);
    if (!target) { return; }
    busy = true;
    last = Date.now();
    try {
      const answer = await fetch(body.dataset.source, { headers: { "HX-Request": "true" } });
      const elsewhere = answer.headers.get("HX-Redirect");
      if (elsewhere) {
        if (Date.now() - sent > RETRY_MS) { location.assign(elsewhere); }
        return;
      }
      if (answer.status === 404) { location.reload(); return; }
      if (answer.ok) {
        const template = document.createElement("template");
        template.innerHTML = await answer.text();
        merge(target, template.content);
        window.htmx.process(target);
        count();
      }
      setOffline(!answer.ok);
    } catch (error) {
      setOffline(true);
    } finally {
      busy = false;
      if (again) { again = false; soon(); }
      plan();
    }
  }

  // A burst of events is one fetch; a page that costs more asks for more time between two.
  function soon() {
    const calm = Number(body.dataset.calm) || 0;
    if (due === null) { due = setTimeout(refresh, Math.max(SETTLE_MS, last + calm - Date.now())); }
  }

  // What no event tells (progress inside a step, a rack's age) is asked for now and then, while the page says so.
  function plan() {
    clearTimeout(timer);
    const target = document.querySelector(body.dataset.refresh);
    const asking = target && target.querySelector("[data-every]");
    const deaf = body.dataset.follow && !hearing ? WITHOUT_STREAM_SECONDS : 0;
    const seconds = Number(asking ? asking.dataset.every : body.dataset.every) || deaf;
    if (seconds && !document.hidden) { timer = setTimeout(soon, seconds * 1000); }
  }

  // data-follow: all, machines, racks, or some of them as in machine:7 or machine:7,8.
  function concerns(about) {
    const [kind, id] = body.dataset.follow.split(":");
    if (about.changed || kind === "all") { return true; }
    const given = kind.startsWith("machine") ? about.machine : about.rack;
    return id === undefined ? given !== null && given !== undefined : id.split(",").includes(String(given));
  }

  function hear(about) {
    if (about.open !== undefined) { hearing = about.open; plan(); }
    if ((about.event || about.changed) && !document.hidden && concerns(about)) { soon(); }
  }

  function follow() {
    if (!body.dataset.follow) { return; }
    if (window.SharedWorker) {
      if (!worker) {
        worker = new SharedWorker(body.dataset.worker, "muster-live");
        worker.port.onmessage = function (message) { hear(message.data); };
        worker.port.start();
      }
      worker.port.postMessage({ stream: body.dataset.stream, seen: !document.hidden });
    } else {
      followAlone();
    }
  }

  function followAlone() {
    if (document.hidden) { // Browsers open few connections to one server.
      if (source) { source.close(); source = null; hearing = false; }
      return;
    }
    if (source || !window.EventSource) { return; }
    source = new EventSource(body.dataset.stream);
    source.onmessage = function (event) {
      const about = JSON.parse(event.data);
      hear({ event: event.lastEventId, machine: about.machine_id, rack: about.rack_id });
    };
    source.onopen = function () { hear({ open: true, changed: true }); };
    source.onerror = function () {
      hear({ open: false });
      if (source && source.readyState === EventSource.CLOSED) { // Refused: too many streams, or nobody signed in.
        source = null;
        setTimeout(follow, RETRY_MS);
      }
    };
  }

  document.addEventListener("visibilitychange", function () {
    follow();
    if (document.hidden) { clearTimeout(timer); } else if (body.dataset.refresh) { soon(); }
  });
  document.addEventListener("submit", function (event) { if (!event.defaultPrevented) { sent = Date.now(); } });
  window.addEventListener("pagehide", function () { if (worker) { worker.port.postMessage({ leave: true }); } });
  window.addEventListener("pageshow", function (event) { if (event.persisted) { follow(); if (body.dataset.refresh) { soon(); } } });

  // Choosing many: the box in the head chooses all, and the number of the chosen is said.
  function boxes(name) { return [...document.querySelectorAll("input[type=checkbox][name='" + name + "']")]; }

  function count() {
    const shown = document.querySelector("[data-count]");
    if (!shown) { return; }
    const all = boxes(shown.dataset.count);
    const chosen = all.filter((one) => one.checked).length;
    const head = document.querySelector("[data-all]");
    shown.textContent = chosen ? chosen + " chosen:" : "Choose machines, then";
    if (head) { head.checked = chosen > 0 && chosen === all.length; head.indeterminate = chosen > 0 && chosen < all.length; }
  }

  document.addEventListener("change", function (event) {
    const head = event.target.closest("[data-all]");
    if (head) { for (const one of boxes(head.dataset.all)) { one.checked = head.checked; } }
    count();
  });

  function tell(title, detail) {
    const toast = document.createElement("div");
    const text = document.createElement("p");
    const strong = document.createElement("strong");
    const close = document.createElement("button");
    strong.textContent = title + ".";
    text.append(strong, " " + detail);
    close.type = "button";
    close.className = "quiet";
    close.dataset.close = "";
    close.textContent = "Close";
    toast.className = "toast";
    toast.append(text, close);
    document.getElementById("refusal").replaceChildren(toast);
  }

  document.addEventListener("htmx:sendError", function () { tell("No answer", "The server cannot be reached. Try again."); });
  document.addEventListener("htmx:responseError", function (event) {
    const request = event.detail.xhr;
    if (!(request.getResponseHeader("Content-Type") || "").includes("json")) { return; } // Pages bring their own notice.
    try {
      const problem = JSON.parse(request.responseText);
      tell(problem.title || "Refused", problem.detail || "");
    } catch (error) {
      tell("Refused", "The server answered " + request.status + ".");
    }
  });
  document.addEventListener("htmx:beforeRequest", function () { document.getElementById("refusal").replaceChildren(); });
  document.addEventListener("htmx:afterSettle", plan);

  function closeMenus(except) {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (menu !== except) { menu.open = false; }
    }
  }

  document.addEventListener("click", function (event) {
    if (event.target.closest("[data-close]")) { document.getElementById("refusal").replaceChildren(); }
    if (!event.target.closest("#refusal")) { closeMenus(event.target.closest("details.menu")); }
  });
  document.addEventListener("keydown", function (event) {
    if (event.key !== "Escape") { return; }
    const menu = document.activeElement && document.activeElement.closest("details.menu[open]");
    closeMenus(null);
    document.getElementById("refusal").replaceChildren();
    if (menu) { menu.querySelector("summary").focus(); }
  });

  count();
  if (body.dataset.refresh) {
    follow();
    plan();
  }
})();
