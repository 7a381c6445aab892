// A chart: a figure with a drawing that can be pointed at and walked through by arrow keys, what is
// read off it, a legend and its values as a table. spec: {id, title, about(), lines(),
// range(lines), marks(frame), legend(), margin(width), height(width), showX, showY, showTick,
// xUnit, table()}.
const charts = [];

function makeChart(spec) {
  const plot =
      el('div', {class: 'plot', tabindex: 0, role: 'group', 'aria-roledescription': 'chart'});
  const tip = el('output', {class: 'tip', 'aria-live': 'polite', hidden: true});
  const about = el('p', {class: 'about'}), legend = el('div', {class: 'legend'});
  const table = el('details', {class: 'values'}, el('summary', {}, 'Values as a table'));
  const figure =
      el('figure', {class: 'chart', id: spec.id},
         el('figcaption', {}, el('h3', {}, spec.title), about), legend, plot,
         spec.table ? table : null);
  const chart = {spec, plot, tip, about, legend, table, figure, lines: [], at: null};
  table.addEventListener('toggle', () => fillTable(chart));
  listen(chart);
  charts.push(chart);
  return chart;
}

function fillTable(chart) {
  chart.table.querySelector('.scroll')?.remove();
  if (chart.table.open) chart.table.append(chart.spec.table());
}

function draw(chart) {
  const {spec, plot} = chart;
  const width = view.printing ? 690 : Math.max(240, plot.clientWidth);
  const height = spec.height(width);
  chart.lines = spec.lines();
  chart.frame = frameOf(spec, width, height, spec.range(chart.lines));
  chart.at = null;
  chart.tip.hidden = true;
  plot.replaceChildren(drawing(chart, width, height), chart.tip);
  plot.setAttribute(
      'aria-label',
      `${spec.title}. Arrow keys left and right go through the values, up and down through the lines.`);
  chart.about.textContent = spec.about(chart);
  chart.legend.replaceChildren(...spec.legend(width));
  fillTable(chart);
}

function drawing(chart, width, height) {
  const {spec, frame, lines} = chart, clip = `clip-${spec.id}`;
  const picture = svg('svg', {
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    'aria-hidden': 'true',
    focusable: 'false'
  });
  picture.append(svg('clipPath', {id: clip}, svg('rect', {
                       x: frame.left - 4,
                       y: frame.top - 4,
                       width: frame.right - frame.left + 8,
                       height: frame.bottom - frame.top + 8
                     })));
  picture.append(drawYAxis(frame, spec.showTick), drawXAxis(frame, spec));
  picture.append(
      svg('g', {'clip-path': `url(#${clip})`}, ...lines.map((line) => drawLine(line, frame))));
  picture.append(...spec.marks(frame));
  if (width >= 560) picture.append(drawLabels(lines, frame));
  chart.cursor = svg('g', {class: 'cursor'});
  picture.append(chart.cursor);
  return picture;
}

// Shows one value: a dot on its line and what it is beside it.
function show(chart, at) {
  chart.at = at;
  chart.tip.hidden = at === null;
  chart.cursor.replaceChildren();
  if (at === null) return;
  const {line, index} = at, {frame, spec, tip} = chart;
  const x = frame.x(line.xs[index]),
        y = Math.min(frame.bottom, Math.max(frame.top, frame.y(line.ys[index])));
  chart.cursor.append(
      svg('line', {x1: x, x2: x, y1: frame.top, y2: frame.bottom}),
      svg('circle', {cx: x, cy: y, r: 4.5, class: `c${line.colour}`}));
  tip.replaceChildren(
      el('b', {}, line.name), line.what ? `, ${line.what}` : '', el('br'),
      `${spec.readX(line.xs[index])}: `, el('b', {}, spec.showY(line.ys[index], line, index)));
  const scale = chart.plot.clientWidth / frame.width || 1;
  const left = Math.min(Math.max(0, x * scale + 12), chart.plot.clientWidth - tip.offsetWidth);
  tip.style.left = `${
      x * scale + 12 + tip.offsetWidth > chart.plot.clientWidth ?
          Math.max(0, x * scale - 12 - tip.offsetWidth) :
          left}px`;
  tip.style.top = `${Math.max(0, y * scale - tip.offsetHeight - 8)}px`;
}

function readable(chart) {
  return chart.lines.filter(
      (line) => line.read && line.ys.some((y, i) => isKnown(y) && inView(chart, line, i)));
}

function inView(chart, line, index) {
  const x = line.xs[index], [from, to] = chart.frame.range.x;
  return isKnown(line.ys[index]) && x >= from && x <= to;
}

// The value `steps` further on along the line, as far as there is one.
function walk(chart, line, index, steps) {
  let reached = index;
  for (let i = index + Math.sign(steps), left = Math.abs(steps);
       left > 0 && i >= 0 && i < line.xs.length; i += Math.sign(steps)) {
    if (!inView(chart, line, i)) continue;
    reached = i;
    --left;
  }
  return reached;
}

function closestIndex(chart, line, x) {
  let best = -1;
  for (let i = 0; i < line.xs.length; ++i) {
    if (inView(chart, line, i) &&
        (best < 0 || Math.abs(line.xs[i] - x) < Math.abs(line.xs[best] - x)))
      best = i;
  }
  return best;
}

function press(chart, key) {
  const lines = readable(chart);
  if (lines.length === 0) return false;
  const steps =
      {ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -1e9, End: 1e9}[key];
  const turns = {ArrowUp: -1, ArrowDown: 1}[key];
  if (key === 'Escape')
    show(chart, null);
  else if (!steps && !turns)
    return false;
  else if (!chart.at)
    show(chart, {
      line: lines[0],
      index: closestIndex(
          chart, lines[0], chart.frame.range.x[key === 'ArrowLeft' || key === 'End' ? 1 : 0])
    });
  else if (steps)
    show(chart, {line: chart.at.line, index: walk(chart, chart.at.line, chart.at.index, steps)});
  else {
    const line = lines[(lines.indexOf(chart.at.line) + turns + lines.length) % lines.length];
    show(chart, {line, index: closestIndex(chart, line, chart.at.line.xs[chart.at.index])});
  }
  return true;
}

function listen(chart) {
  const point = (event) => {
    const box = chart.plot.getBoundingClientRect(), scale = chart.frame.width / box.width;
    const at = nearest(
        readable(chart), chart.frame, (event.clientX - box.left) * scale,
        (event.clientY - box.top) * scale);
    if (at && inView(chart, at.line, at.index)) show(chart, at);
  };
  chart.plot.addEventListener('pointermove', point);
  chart.plot.addEventListener('pointerdown', point);
  chart.plot.addEventListener(
      'pointerleave', (event) => event.pointerType === 'mouse' && show(chart, null));
  chart.plot.addEventListener('blur', () => show(chart, null));
  chart.plot.addEventListener('keydown', (event) => {
    if (!event.ctrlKey && !event.altKey && !event.metaKey && press(chart, event.key))
      event.preventDefault();
  });
}
