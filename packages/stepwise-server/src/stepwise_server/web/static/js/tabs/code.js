// What ran: commit and changes, entry point, packages, machine.

import { h, show } from "../dom.js";

export function tab(place, { task }) {
  const { script, runtime, container } = task;
  const facts = { repository: script.repository, branch: script.branch, commit: script.version_num, "entry point": script.entry_point, "working directory": script.working_dir, interpreter: script.binary, container: container.image, queue: task.execution.queue?.name, worker: task.last_worker };
  const machine = Object.entries(runtime).filter(([, value]) => value !== null && typeof value !== "object");
  show(place, h("section", { class: "card" }, definition(Object.entries(facts).filter(([, value]) => value))),
    machine.length && h("section", { class: "card", style: "margin-top: .8rem" }, h("h2", { style: "margin-top: 0" }, "Machine and run"), definition(machine)),
    text("Uncommitted changes", script.diff), text("Packages", script.requirements?.pip));
}

function definition(entries) {
  return h("dl", { class: "facts" }, entries.map(([name, value]) => [h("dt", {}, name), h("dd", { class: "mono" }, String(value))]));
}

function text(title, content) {
  return typeof content === "string" && content && h("details", { class: "card", style: "margin-top: .8rem" }, h("summary", {}, title), h("pre", {}, content));
}
