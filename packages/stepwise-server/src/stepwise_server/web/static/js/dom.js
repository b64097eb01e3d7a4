// Elements from data. Texts are always text nodes: nothing that a run is called can become markup.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list" && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function show(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child || child === 0));
}

// A line at the corner that goes by itself; `action` is what a button in it does.
export function notice(text, bad = false, [name, action] = []) {
  const line = h("div", { class: bad ? "bad" : "" }, text, name && h("button", { onclick: () => { line.remove(); action(); } }, name));
  document.getElementById("notices").append(line);
  setTimeout(() => line.remove(), bad || name ? 9000 : 4000);
}

export function ago(moment) {
  if (!moment) return "";
  const seconds = (Date.now() - new Date(moment)) / 1000;
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]])
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  return "just now";
}

export function moment(text) {
  return text ? new Date(text).toLocaleString() : "";
}

export function duration(seconds) {
  if (seconds === undefined || seconds === null) return "";
  const parts = [[Math.floor(seconds / 3600), "h"], [Math.floor(seconds / 60) % 60, "min"], [Math.floor(seconds) % 60, "s"]];
  return parts.filter(([value]) => value).slice(0, 2).map(([value, unit]) => `${value} ${unit}`).join(" ") || "0 s";
}

export function number(value) {
  if (typeof value !== "number") return value ?? "";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e6 ? String(+value.toPrecision(5)) : value.toExponential(3);
}

export function bytes(size) {
  for (const [unit, name] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]])
    if (size >= unit) return `${(size / unit).toFixed(1)} ${name}`;
  return `${size ?? 0} B`;
}

export function state(task, run) {
  const word = run && task.status === "in_progress" ? run.state : task.status;
  const words = { in_progress: "running", created: "draft" };
  const title = run ? `status ${task.status}; last sign of life ${ago(run.last_sign)}` : task.status;
  return h("span", { class: `state ${word}`, title }, words[word] ?? word);
}

export function tags(task) {
  return (task.tags ?? []).map((tag) => h("span", { class: "tag" }, tag));
}

// Only files of this server and pictures within the page may be shown; all else stays a link.
export function ownFile(url) {
  try {
    const parsed = new URL(url, location.href);
    const mark = parsed.pathname.indexOf("/files/");
    if (parsed.protocol === "data:") return url.startsWith("data:image/") ? url : null;
    return mark === 0 && parsed.host === location.host ? parsed.pathname : null;
  } catch {
    return null;
  }
}

export function save(name, text, type = "text/plain") {
  const url = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
