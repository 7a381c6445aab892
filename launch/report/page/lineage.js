// The lineage: the figure of all lanes, and what is read off it.

// Lanes are numbered from the top; `order` has the place of each one's path.
const lineage = {
  at: -1,
  order: treeOrder()
};

function makeLineage() {
  const plot = el('div', {
    class: 'plot',
    tabindex: 0,
    role: 'group',
    'aria-roledescription': 'chart',
    'aria-label': 'Lineage of paths. Arrow keys up and down go through the paths.'
  });
  const tip = el('output', {class: 'tip', 'aria-live': 'polite', hidden: true});
  Object.assign(lineage, {plot, tip});
  plot.addEventListener('keydown', (event) => {
    const turn = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (!turn) return;
    event.preventDefault();
    showLane(Math.min(data.paths.length - 1, Math.max(0, lineage.at + turn)));
  });
  plot.addEventListener('blur', () => showLane(-1));
  plot.addEventListener('pointerleave', () => showLane(-1));
  const point = (event) => {
    const box = plot.getBoundingClientRect(),
          y = (event.clientY - box.top) * (lineage.height / box.height);
    const lane = Math.floor((y - lineage.layout.top) / lineage.layout.lane);
    showLane(lane >= 0 && lane < data.paths.length ? lane : -1);
  };
  plot.addEventListener('pointermove', point);
  plot.addEventListener('pointerdown', point);
  return el(
      'figure', {class: 'chart', id: 'lineage'}, el('p', {class: 'about'}, lineageAbout()), plot);
}

function lineageAbout() {
  const parts = ['Steps from left to right; a branch hangs on the step that it forks at.'];
  if (data.paths.some((path) => path.end > path.step)) parts.push('Dashed: still to come.');
  if (data.paths.some((path) => path.starts.length > 1)) parts.push('Small ticks: later starts.');
  if (data.paths.some((path) => path.starts.some((start) => start.given_up)))
    parts.push('Red, below: steps that were made and given up.');
  return parts.join(' ');
}

function showLane(lane) {
  lineage.at = lane;
  lineage.tip.hidden = lane < 0;
  if (lane < 0) return;
  const [name, ...rest] = laneTip(data.paths[lineage.order[lane]]);
  lineage.tip.replaceChildren(el('b', {}, name), ...rest.flatMap((text) => [el('br'), text]));
  const {layout, plot, tip} = lineage, scale = plot.clientHeight / lineage.height;
  const top = (layout.top + (lane + 1) * layout.lane) * scale;
  tip.style.left =
      `${Math.max(0, Math.min(layout.left + 40, plot.clientWidth - tip.offsetWidth))}px`;
  tip.style.top = `${
      top + tip.offsetHeight > plot.clientHeight ?
          Math.max(0, top - layout.lane * scale - tip.offsetHeight) :
          top}px`;
}

function drawLineage() {
  const width = view.printing ? 690 : Math.max(240, lineage.plot.clientWidth);
  const layout = laneLayout(width), height = layout.top + data.paths.length * layout.lane + 40;
  const frame = {
    left: layout.left,
    right: width - layout.right,
    bottom: height - 40,
    range: {x: [0, lastStep()]}
  };
  frame.x = scaleOf(0, lastStep(), frame.left, frame.right);
  const top = (place) => layout.top + lineage.order.indexOf(place) * layout.lane;
  const y = (place) => top(place) + layout.line;
  const picture =
      svg('svg', {viewBox: `0 0 ${width} ${height}`, width, height, 'aria-hidden': 'true'});
  picture.append(drawXAxis(frame, {showX: showShort, xUnit: 'step'}));
  data.paths.forEach((path, place) => {
    if (path.parent >= 0) picture.append(drawFork(path, place, frame.x, y(place), y(path.parent)));
  });
  data.paths.forEach((path, place) => {
    picture.append(drawLane(path, place, frame.x, y(place)));
    const text = laneText(path, layout);
    text.setAttribute('transform', `translate(0 ${top(place)})`);
    picture.append(text);
  });
  Object.assign(lineage, {layout, height});
  lineage.plot.replaceChildren(picture, lineage.tip);
}
