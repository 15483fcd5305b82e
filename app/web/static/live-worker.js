// One event stream for all pages of a browser: pages connect here, and the stream is open while any of them is seen.
"use strict";
const RETRY_MS = 10000;
const pages = new Map(); // port -> whether the page is seen
let source = null;
let path = null;
let retry = null;

function tell(message) {
  for (const port of pages.keys()) { port.postMessage(message); }
}

function follow() {
  const wanted = [...pages.values()].some(Boolean);
  if (!wanted) {
    if (source) { source.close(); source = null; }
    return;
  }
  if (source || path === null) { return; }
  source = new EventSource(path);
  source.onopen = function () { tell({ open: true, changed: true }); }; // Something may have happened meanwhile.
  source.onmessage = function (event) {
    let about = {};
    try { about = JSON.parse(event.data); } catch (error) { about = {}; }
    tell({ machine: about.machine_id, rack: about.rack_id, event: event.lastEventId });
  };
  source.onerror = function () {
    tell({ open: false });
    if (source && source.readyState === EventSource.CLOSED) { // Refused: too many streams, or nobody signed in.
      source = null;
      clearTimeout(retry);
      retry = setTimeout(follow, RETRY_MS);
    }
  };
}

self.onconnect = function (event) {
  const port = event.ports[0];
  port.onmessage = function (message) {
    if (message.data.leave) { pages.delete(port); } else {
      path = path || message.data.stream;
      pages.set(port, message.data.seen);
      if (source && source.readyState === EventSource.OPEN) { port.postMessage({ open: true }); }
    }
    follow();
  };
};
