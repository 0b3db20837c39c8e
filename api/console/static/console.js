"use strict";
// A run that is under way is followed by its events; each finished step shows the page anew.
const live = document.getElementById("live");
if (live && live.dataset.over === "no") {
  const events = new EventSource(`/api/agents/runs/${live.dataset.run}/events`);
  let waiting = false;
  const again = () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => location.reload(), 400);
  };
  for (const kind of ["step.finished", "step.failed", "run.finished", "run.failed", "run.cancelled"]) {
    events.addEventListener(kind, (event) => {
      if (document.querySelectorAll(".steps li").length === 0 || kind.startsWith("run.")) again();
      live.dataset.last = event.lastEventId;
    });
  }
  events.onerror = () => events.close();
}
// Letters lead: "r" to the runs, "/" to the filter.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (event.key === "r") location.assign("/console/runs");
  if (event.key === "/") {
    const field = document.querySelector(".filter input");
    if (field) { event.preventDefault(); field.focus(); }
  }
});
