"use strict";
(() => {
  const found = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);

  // Tables that are sorted by a click on a head; cells without a value stay at the end.
  document.querySelectorAll("table.sortable").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    const value = (row, i) => {
      const cell = row.cells[i];
      const given = cell.dataset.value;
      return given === undefined ? cell.textContent.trim() : given === "" ? null : Number(given);
    };
    heads.forEach((head, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "head";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.onclick = () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].sort((a, b) => {
          const [x, y] = [value(a, i), value(b, i)];
          if (x === null || y === null) return (x === null) - (y === null);
          const order = typeof x === "number" && typeof y === "number" ? x - y
            : String(x).localeCompare(String(y), "en", { numeric: true });
          return down ? -order : order;
        });
        body.append(...rows);
      };
    });
  });

  // One axis against another, as the reader chooses them, with the front where both have a better.
  const plot = found.scatter;
  if (!plot || !at("scatter")) return;
  const WIDEST = 860, LEFT = 76, RIGHT = 24, TOP = 18, BELOW = 52;
  const SPREAD = 5, NAMED = 14;
  const svg = (tag, given, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(given).forEach(([name, value]) => made.setAttribute(name, value));
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const written = (value, kind) => {
    if (kind === "bytes") {
      const power = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(1, value)) / 3)));
      return `${+(value / 1000 ** power).toPrecision(3)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
    }
    if (kind === "seconds") {
      return value < 120 ? `${+value.toPrecision(3)} s` : value < 7200 ? `${+(value / 60).toPrecision(3)} min`
        : `${+(value / 3600).toPrecision(3)} h`;
    }
    const size = Math.abs(value);
    if (size && size < 1e-3) return value.toExponential(1);
    return size >= 1000 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(4));
  };
  const steps = (low, high) => {
    const rough = (high - low || Math.abs(low) || 1) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((each) => each * power >= rough);
    const ticks = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high + step / 1e6; tick += step) {
      ticks.push(Math.abs(tick) < step / 1e6 ? 0 : tick);
    }
    return ticks;
  };
  const scale = (axis, values, start, end) => {
    if (axis.kind === "choice") {
      const names = axis.names;
      const place = (i) => start + (end - start) * (i + 0.5) / names.length;
      return { place, ticks: names.map((name, i) => [i, name]), log: false };
    }
    let low = Math.min(...values), high = Math.max(...values);
    const log = low > 0 && high / low > SPREAD && axis.better !== "high";
    const on = (value) => (log ? Math.log(value) : value);
    const room = (on(high) - on(low)) * 0.06 || Math.abs(on(low)) * 0.1 || 1;
    const [from, to] = [on(low) - room, on(high) + room];
    const place = (value) => start + (end - start) * (on(value) - from) / (to - from);
    let ticks = steps(from, to);
    if (log) {
      ticks = [];
      for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) {
        [1, 2, 5].map((each) => each * power).filter((t) => t >= low * 0.9 && t <= high * 1.1)
          .forEach((tick) => ticks.push(tick));
      }
      if (ticks.length > 7) ticks = ticks.filter((t) => /^[^1-9]*1[^1-9]*$/.test(String(t)));
      if (ticks.length < 2) ticks = [low, high];
    }
    if (ticks.length > 3 && Math.abs(end - start) < 320) ticks = ticks.filter((_, i) => i % 2 === 0);
    return { place, ticks: ticks.map((tick) => [tick, written(tick, axis.kind)]), log };
  };
  const front = (points, x, y) => {
    if (!x.better || !y.better) return new Set();
    const good = (value, axis) => (axis.better === "high" ? value : -value);
    return new Set(points.filter((p) => !points.some((q) => {
      const [a, b, c, d] = [good(q.x, x), good(p.x, x), good(q.y, y), good(p.y, y)];
      return a >= b && c >= d && (a > b || c > d);
    })));
  };
  const draw = () => {
    const [i, j] = [Number(at("across").value), Number(at("upward").value)];
    const [x, y] = [plot.axes[i], plot.axes[j]];
    const points = plot.points
      .map((one) => ({ one, x: one.values[i], y: one.values[j], a: one.ends[i], b: one.ends[j] }))
      .filter((p) => p.x !== null && p.y !== null);
    const room = at("scatter");
    const WIDE = Math.max(300, Math.min(WIDEST, room.clientWidth || WIDEST));
    const HIGH = WIDE < 600 ? 340 : 420;
    room.replaceChildren();
    const said = at("drawn");
    if (!points.length) { said.textContent = "No run has both."; return; }
    const reach = (key, ends) => points.flatMap((p) => [p[key], ...(p[ends] || [])]);
    const across = scale(x, reach("x", "a"), LEFT, WIDE - RIGHT);
    const upward = scale(y, reach("y", "b"), HIGH - BELOW, TOP);
    const box = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "scatter", role: "img",
      "aria-label": `${y.label} by ${x.label}` });
    across.ticks.forEach(([tick, text]) => {
      const place = across.place(tick);
      box.append(svg("path", { class: "axis", d: `M${place} ${TOP}V${HIGH - BELOW}` }));
      box.append(svg("text", { class: "quiet", x: place, y: HIGH - BELOW + 18, "text-anchor": "middle" }, text));
    });
    upward.ticks.forEach(([tick, text]) => {
      const place = upward.place(tick);
      box.append(svg("path", { class: "axis", d: `M${LEFT} ${place}H${WIDE - RIGHT}` }));
      box.append(svg("text", { class: "quiet", x: LEFT - 8, y: place + 4, "text-anchor": "end" }, text));
    });
    box.append(svg("text", { class: "quiet", x: WIDE - RIGHT, y: HIGH - 8, "text-anchor": "end" },
      x.label + (across.log ? ", log scale" : "") + " →"));
    box.append(svg("text", { class: "quiet", x: 4, y: 12 }, `↑ ${y.label}${upward.log ? ", log scale" : ""}`));
    const best = front(points, x, y);
    const line = points.filter((p) => best.has(p)).sort((p, q) => p.x - q.x || p.y - q.y);
    if (line.length > 1) {
      const steps = line.map((p, n) => `${n ? "H" : "M"}${across.place(p.x)}` +
        (n ? `V${upward.place(p.y)}` : ` ${upward.place(p.y)}`)).join("");
      box.append(svg("path", { class: "front", d: steps }));
    }
    const named = [];  // where names stand; one that would cover another is left to its title
    [...points].sort((p, q) => best.has(q) - best.has(p)).forEach((p) => {
      const [cx, cy] = [across.place(p.x), upward.place(p.y)];
      const group = svg("g", { class: best.has(p) ? "best" : "other" });
      if (p.b) group.append(svg("path", { d: `M${cx} ${upward.place(p.b[0])}V${upward.place(p.b[1])}` }));
      if (p.a) group.append(svg("path", { d: `M${across.place(p.a[0])} ${cy}H${across.place(p.a[1])}` }));
      const dot = svg("circle", { cx, cy, r: 6 });
      const told = x.kind === "choice" ? x.names[p.x] : written(p.x, x.kind);
      dot.append(svg("title", {}, `${p.one.name}\n${x.label}: ${told}\n${y.label}: ${written(p.y, y.kind)}`));
      group.append(dot);
      const right = cx > WIDE * 0.75;
      const long = p.one.name.length * 7.2;
      const spot = [right ? cx - 10 - long : cx + 10, cy - 16];
      const free = !named.some(([left, top, wide]) => Math.abs(top - spot[1]) < 13
        && spot[0] < left + wide && left < spot[0] + long);
      if (free && (points.length <= NAMED || best.has(p))) {
        named.push([...spot, long]);
        group.append(svg("text", { x: cx + (right ? -10 : 10), y: cy - 7,
          "text-anchor": right ? "end" : "start" }, p.one.name));
      }
      if (p.one.href) {
        const link = svg("a", { href: p.one.href });
        link.append(group);
        box.append(link);
      } else box.append(group);
    });
    room.append(box);
    const left = plot.points.length - points.length;
    said.textContent = (left ? `${left} without one of the two. ` : "")
      + (best.size ? "Orange: none is better in both." : "");
  };
  [["across", plot.x], ["upward", plot.y]].forEach(([id, chosen]) => {
    const list = at(id);
    plot.axes.forEach((axis, i) => {
      if (id === "upward" && axis.kind === "choice") return;
      const option = document.createElement("option");
      option.value = i;
      option.textContent = axis.label;
      option.selected = i === chosen;
      list.append(option);
    });
    list.onchange = draw;
  });
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 150); });
  draw();
})();
