// Keeps the changing part of a page fresh: one event stream, a timer, and one fetch of HTML for a burst of events.
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
  let source = null;
  let timer = null;

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
    try {
      const answer = await fetch(body.dataset.source, { headers: { "HX-Request": "true" } });
      const elsewhere = answer.headers.get("HX-Redirect");
      if (elsewhere) { location.assign(elsewhere); return; }
      if (answer.status === 404) { location.reload(); return; }
      if (answer.ok) {
        const template = document.createElement("template");
        template.innerHTML = await answer.text();
        merge(target, template.content);
        window.htmx.process(target);
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

  function soon() {
    if (due === null) { due = setTimeout(refresh, SETTLE_MS); }
  }

  // What no event tells (progress inside a step, a rack's age) is asked for now and then, while the page says so.
  function plan() {
    clearTimeout(timer);
    const target = document.querySelector(body.dataset.refresh);
    const asking = target && target.querySelector("[data-every]");
    const deaf = body.dataset.stream && (!source || source.readyState !== 1) ? WITHOUT_STREAM_SECONDS : 0;
    const seconds = Number(asking ? asking.dataset.every : body.dataset.every) || deaf;
    if (seconds && !document.hidden) { timer = setTimeout(soon, seconds * 1000); }
  }

  function follow() {
    if (!body.dataset.stream || !window.EventSource || source || document.hidden) { return; }
    source = new EventSource(body.dataset.stream);
    source.onmessage = soon;
    source.onopen = soon; // What happened between the page and the stream.
    source.onerror = function () {
      if (source && source.readyState === EventSource.CLOSED) { // Refused: too many streams, or nobody signed in.
        source = null;
        soon();
        setTimeout(follow, RETRY_MS);
      }
    };
  }

  // Browsers open few connections to one server, so pages that nobody sees let go of theirs.
  document.addEventListener("visibilitychange", function () {
    if (document.hidden) {
      clearTimeout(timer);
      if (source) { source.close(); source = null; }
    } else if (body.dataset.refresh) {
      soon();
      follow();
    }
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

  if (body.dataset.refresh) {
    follow();
    plan();
  }
})();
