"use strict";
(() => {
  const find = (selector) => document.querySelector(selector);
  const typing = (target) => /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) || target.isContentEditable;

  // What happens without an answer is said; what is refused with one is shown where the answer goes.
  let hush;
  const say = (words) => {
    const toast = find("#toast");
    clearTimeout(hush);
    toast.textContent = words;
    toast.hidden = false;
    hush = setTimeout(() => { toast.hidden = true; }, 6000);
  };
  document.addEventListener("htmx:sendError", () => say("There is no connection to the service."));
  document.addEventListener("htmx:timeout", () => say("The service did not answer in time."));

  // What is open stays open when a part of the page is drawn anew.
  let open = new Set();
  const closed = new Set();
  document.addEventListener("htmx:beforeSwap", (event) => {
    open = new Set();
    closed.clear();
    for (const part of event.detail.target.querySelectorAll("details[id]")) (part.open ? open : closed).add(part.id);
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    for (const part of event.detail.target.querySelectorAll("details[id]")) {
      if (open.has(part.id)) part.open = true;
      else if (closed.has(part.id)) part.open = false;
    }
  });

  // A run that is under way is followed by its events.
  const run = find("#run[data-over=no]");
  if (run) {
    const events = new EventSource(`/api/agents/runs/${run.dataset.run}/events`);
    let due;
    const moved = () => {
      clearTimeout(due);
      due = setTimeout(() => htmx.trigger(run, "moved"), 150);
    };
    for (const kind of ["run.started", "run.resumed", "step.started", "step.finished", "step.failed"]) events.addEventListener(kind, moved);
    for (const kind of ["run.finished", "run.failed", "run.cancelled"]) {
      events.addEventListener(kind, () => { events.close(); moved(); });
    }
  }

  // Keys.
  const rows = () => [...document.querySelectorAll("table.rows td.main > a, .cards > li > a")];
  const step = (by) => {
    const all = rows();
    if (!all.length) return;
    const at = all.indexOf(document.activeElement);
    all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + by))].focus();
  };
  let leading = false;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form) {
      event.preventDefault();
      event.target.form.requestSubmit();
      return;
    }
    if (event.key === "Escape") for (const menu of document.querySelectorAll("details.menu[open]")) { menu.open = false; menu.querySelector("summary").focus(); }
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (leading) {
      leading = false;
      const link = document.querySelector(`.tabs [data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); return; }
    }
    if (event.key === "g") leading = true;
    else if (event.key === "/") {
      const field = find("[role=search] :is(input:not([type=hidden]), select)");
      if (field) { event.preventDefault(); field.focus(); }
    } else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "?") find("#keys")?.showModal();
  });

  // Clicks.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.open) find(`#${button.dataset.open}`).showModal();
    if (button.dataset.copy) navigator.clipboard?.writeText(button.dataset.copy).then(() => say("Copied."), () => say("This browser does not let pages copy."));
    if (button.dataset.slot) {
      const words = find(`#${button.dataset.into}`);
      words.focus();
      words.setRangeText(`{{ ${button.dataset.slot} }}`, words.selectionStart, words.selectionEnd, "end");
      words.dispatchEvent(new Event("input", { bubbles: true }));
    }
  });
  document.addEventListener("focusin", (event) => {
    if (event.target.matches("textarea[id]")) for (const chip of document.querySelectorAll("button[data-slot]")) chip.dataset.into = event.target.id;
  });

  // What was typed and not kept is not left without a question.
  const draft = find("form[data-draft]");
  if (draft) {
    let touched = false;
    draft.addEventListener("input", () => { touched = true; });
    draft.addEventListener("submit", () => { touched = false; });
    addEventListener("beforeunload", (event) => { if (touched) event.preventDefault(); });
  }
})();
