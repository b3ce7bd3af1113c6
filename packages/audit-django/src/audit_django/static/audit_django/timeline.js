// What HTML cannot do alone: keys, focus after a swap, rows that open in place, polling, one heading for one day.
// Everything here is a convenience: without this file the pages read, filter and page as they are.

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const POLL_MILLISECONDS = 5000;

document.documentElement.classList.add("audit-js");

// "1 change", "12 changes": in words that the page brings in its language.
function counted(words, number) {
  const { dataset } = $("#audit-words");
  return number === 1 ? dataset[`${words}One`] : dataset[words].replace("#", number);
}

function announce(text) {
  $("#audit-status").textContent = text;
}

// Rows

function isOpen(opener) {
  return opener.getAttribute("aria-expanded") === "true";
}

function setOpen(opener, open) {
  opener.setAttribute("aria-expanded", String(open));
  const row = opener.closest(".audit-row");
  row.classList.toggle("is-open", open);
  if (!open) $(".audit-panel", row).replaceChildren();
}

function prepareRows(root) {
  for (const opener of $$(".audit-open:not([aria-expanded])", root)) opener.setAttribute("aria-expanded", "false");
}

// A day whose rows came in two pages has one heading, and the count of what is loaded.
function mergeDays() {
  const first = new Map();
  for (const section of $$("#audit-list > .audit-day")) {
    const known = first.get(section.dataset.day);
    if (!known) {
      first.set(section.dataset.day, section);
      continue;
    }
    const rows = $(".audit-rows", known);
    rows.append(...$$(".audit-row", section).filter((row) => !rows.querySelector(`#${CSS.escape(row.id)}`)));
    section.remove();
    $("h2 small", known).textContent = counted("changes", rows.childElementCount);
  }
  $$("#audit-list > .audit-newest").slice(1).forEach((extra) => extra.remove());
}

function move(step) {
  const openers = $$(".audit-open");
  const current = openers.indexOf(document.activeElement?.closest(".audit-row")?.querySelector(".audit-open"));
  const next = openers[current < 0 ? (step > 0 ? 0 : -1) : current + step];
  if (!next) return;
  next.focus({ focusVisible: true, preventScroll: true });
  next.closest(".audit-row").scrollIntoView({ block: "nearest" });
}

// Relative times grow old while a page stays open.
function refreshAges() {
  const format = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "auto" });
  for (const time of $$(".audit-row > time")) {
    let amount = (new Date(time.dateTime) - Date.now()) / 1000;
    let unit = "second";
    for (const [size, name] of [[60, "minute"], [60, "hour"], [24, "day"], [30.4, "month"], [12, "year"]]) {
      if (Math.abs(amount) < size) break;
      amount /= size;
      unit = name;
    }
    const text = format.format(Math.round(amount), unit);
    time.title = `${time.title.split(" · ")[0]} · ${text}`;
    $("[data-ago]", time).textContent = `, ${text}`;
  }
}

// Filters

function closePopovers(except) {
  for (const open of $$("details[name='audit-chip'][open], .audit-menu[open]")) if (open !== except) open.open = false;
}

function prepareFilters() {
  const button = $(".audit-fold-filters");
  if (!button) return;
  button.setAttribute("aria-expanded", String(button.parentElement.classList.contains("is-unfolded")));
}

// htmx

let chipBefore = null; // where the focus was when a filter was chosen
let unfolded = false;

document.addEventListener("htmx:configRequest", (event) => {
  chipBefore = event.target.closest(".audit-chip")?.querySelector("summary")?.id ?? null;
  unfolded = $(".audit-filters")?.classList.contains("is-unfolded") ?? false;
});

document.addEventListener("htmx:confirm", (event) => {
  const opener = event.target;
  if (!opener.matches?.(".audit-open") || !isOpen(opener)) return;
  event.preventDefault();
  setOpen(opener, false);
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, target } = event.detail;
  if (target.id === "audit-news") {
    // A poll that failed says nothing: the next may not. What has been said is not said again.
    const parsed = new DOMParser().parseFromString(xhr.responseText, "text/html");
    if (xhr.status >= 400 || parsed.body.textContent.trim() === target.textContent.trim()) event.detail.shouldSwap = false;
  } else if (xhr.status >= 400 && target.id !== "audit-main") {
    event.detail.shouldSwap = false;
  }
});

function failed(event) {
  const { elt, target } = event.detail;
  if (!target || target.id === "audit-news") return;
  if (target.id === "audit-main" && event.detail.xhr?.status) return; // the answer itself says what is wrong
  const note = Object.assign(document.createElement("p"), { className: "audit-failed", role: "alert" });
  note.textContent = $("#audit-words").dataset.failed;
  (target.id === "audit-main" ? $("#audit-list") : elt.closest(".audit-older, .audit-row")?.querySelector(".audit-panel") ?? elt.parentElement).prepend(note);
  setTimeout(() => note.remove(), 8000);
}
for (const name of ["responseError", "sendError", "timeout"]) document.addEventListener(`htmx:${name}`, failed);

document.addEventListener("htmx:afterSwap", (event) => {
  const { target, elt, requestConfig } = event.detail;
  prepareRows(document);
  if (target.matches(".audit-panel")) {
    if (requestConfig?.elt) setOpen(requestConfig.elt, true);
    announce($("#audit-words").dataset.opened);
  } else if (target.matches(".audit-older")) {
    const number = $$(".audit-row").length;
    const hadFocus = document.activeElement === document.body;
    mergeDays();
    if (hadFocus && requestConfig?.triggeringEvent?.type === "click") $$(".audit-open")[number - 1]?.focus();
    announce(counted("shown", $$(".audit-row").length));
  }
});

document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.elt.id !== "audit-main" && event.detail.target.id !== "audit-main") return;
  prepareMain();
  if (unfolded) $(".audit-filters")?.classList.add("is-unfolded");
  prepareFilters();
  if (document.activeElement === document.body) ((chipBefore && document.getElementById(chipBefore)) || $("#audit-title") || $("#audit-main")).focus({ preventScroll: true });
  const number = $$(".audit-row").length;
  announce(number ? counted("shown", number) : $(".audit-state h2")?.textContent ?? "");
});

function prepareMain() {
  prepareRows(document);
  prepareFilters();
}

// Keys

const keysWanted = () => localStorage.getItem("audit-keys") !== "off";

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") return escape(event, typing);
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !keysWanted() || $("dialog[open]")) return;
  const act = {
    "/": () => $("#audit-q")?.focus(),
    j: () => move(1),
    k: () => move(-1),
    f: focusFilters,
    "?": () => $("#audit-help")?.showModal(),
  }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

function focusFilters() {
  const filters = $(".audit-filters");
  if (!filters) return;
  filters.classList.add("is-unfolded");
  prepareFilters();
  $(".audit-chip summary", filters)?.focus({ focusVisible: true });
}

function escape(event, typing) {
  const popover = event.target.closest("details[name='audit-chip'][open], .audit-menu[open]");
  if (popover) {
    popover.open = false;
    $("summary", popover).focus();
  } else if (typing) {
    event.target.blur();
  } else {
    const row = document.activeElement.closest(".audit-row.is-open") ?? $(".audit-row.is-open");
    if (!row) return;
    setOpen($(".audit-open", row), false);
    $(".audit-open", row).focus({ focusVisible: true });
  }
}

// Clicks

document.addEventListener("click", async (event) => {
  const target = event.target;
  closePopovers(target.closest("details[name='audit-chip'], .audit-menu"));
  const copy = target.closest("[data-copy]");
  if (copy && navigator.clipboard && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    await navigator.clipboard.writeText(copy.href);
    const label = $("span", copy);
    const before = label.textContent;
    label.textContent = copy.dataset.copy;
    announce(copy.dataset.copy);
    setTimeout(() => { label.textContent = before; }, 2000);
  } else if (target.closest(".audit-fold-filters")) {
    target.closest(".audit-filters").classList.toggle("is-unfolded");
    prepareFilters();
  } else if (target.closest("#audit-help-open")) {
    $("#audit-help").showModal();
  } else if (!target.closest("a, button, summary, input, select, label, .audit-panel") && !String(getSelection())) {
    target.closest(".audit-row")?.querySelector(".audit-open")?.click(); // the whole row is the target of a pointer
  }
});

$("#audit-keys")?.addEventListener("change", (event) => localStorage.setItem("audit-keys", event.target.checked ? "on" : "off"));

// Printing

addEventListener("beforeprint", () => {
  const number = $("[data-print-number]");
  if (number) number.textContent = counted("changes", $$(".audit-row").length);
  const time = $("[data-print-time]");
  if (time) time.textContent = new Date().toLocaleString(document.documentElement.lang || "en", { dateStyle: "long", timeStyle: "short" });
});

// Start

prepareMain();
if ($("#audit-keys")) $("#audit-keys").checked = keysWanted();
if ($("#audit-help-open")) $("#audit-help-open").hidden = false;
setInterval(() => {
  const news = $("#audit-news");
  if (news && document.visibilityState === "visible" && !$("[data-ended]", news)) window.htmx?.trigger("#audit-poll", "audit:poll");
}, POLL_MILLISECONDS);
setInterval(refreshAges, 60000);
