// Keeps the changing part of a page fresh: one event stream a page, and one fetch of HTML for a burst of events.
(function () {
  "use strict";
  const body = document.body;
  const SETTLE_MS = 120;
  let due = null;

  function openDetails(root) {
    return new Set([...root.querySelectorAll("details[open][id]")].map((one) => one.id));
  }

  function refresh() {
    due = null;
    const target = document.querySelector(body.dataset.refresh);
    if (!target || target.querySelector("details.menu[open], select:focus")) {
      return; // Nobody likes a menu that closes under the pointer; the next event comes soon enough.
    }
    const open = openDetails(target);
    window.htmx.ajax("GET", body.dataset.source, { target: target, swap: "innerHTML" }).then(function () {
      open.forEach(function (id) {
        const one = document.getElementById(id);
        if (one) { one.open = true; }
      });
    });
  }

  if (body.dataset.stream && window.EventSource) {
    const source = new EventSource(body.dataset.stream);
    source.onmessage = function () {
      if (due === null) { due = setTimeout(refresh, SETTLE_MS); }
    };
  }

  document.addEventListener("click", function (event) {
    if (event.target.matches("[data-close]")) { document.getElementById("refusal").replaceChildren(); }
  });
})();
