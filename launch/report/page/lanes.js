// A lane of the lineage for each path, from the step that it forks at to the one that it is at, and
// dashed to where it is to end.

const stateSigns = {
  finished: '✓',
  running: '●',
  stopped: '■',
  new: '○',
  waiting: '○',
  average: '◆',
  imported: '◇',
  damaged: '!'
};

function stateText(path) {
  if (path.state === 'damaged') return `! ${path.problem}`;
  const sign = `${stateSigns[path.state] ?? ''} ${path.state}`;
  if (path.kind === 'imported')
    return path.members ? `${stateSigns.imported} mean of published weights, ${membersText(path)}` :
                          `${stateSigns.imported} published weights`;
  if (path.kind === 'average') return `${stateSigns.average} average of ${membersText(path)}`;
  if (path.state === 'waiting')
    return path.end > path.fork ? `${sign}, ${showCount(path.end - path.fork)} steps` : sign;
  return `${sign} at ${showCount(path.step)}${
      path.end > path.step ? ` of ${showCount(path.end)}` : ''}`;
}

function membersText(path) {
  const members = path.members ?? [];
  const shown =
      members.length > 3 ? [members[0], members[1], '…', members[members.length - 1]] : members;
  const others = (path.others ?? []).length > 0 ? ` and ${path.others.join(', ')}` : '';
  return shown.map((step) => (typeof step === 'number' ? showCount(step) : step)).join(', ') +
      others;
}

// Where a lane begins and ends: an average stands at its last member's step, published weights at
// step 0 of the paths that begin with them.
function spanOf(path) {
  if (path.kind === 'imported') return [0, 0];
  if (path.kind === 'average') return [path.fork, path.fork];
  return [path.parent >= 0 || path.fork > 0 ? path.fork : 0, Math.max(path.step, path.fork)];
}

function laneLayout(width) {
  const wide = width >= 720 || view.printing;
  const longest = Math.max(
      ...data.paths.map((path) => Math.max(8 * path.name.length, 6.6 * stateText(path).length)));
  return {
    wide,
    left: wide ? Math.max(120, Math.min(longest + 20, width * (view.printing ? 0.36 : 0.28))) : 8,
    right: 20,
    top: 10,
    ...laneHeight(wide)
  };
}

// On paper all lanes stand on one page where they can; their states are in the table below.
function laneHeight(wide) {
  if (!wide) return {lane: 44, line: 30, states: true};
  const lane = view.printing ? Math.max(14, Math.min(38, 760 / data.paths.length)) : 38;
  return {lane, line: lane / 2, states: lane >= 32};
}

function laneText(path, layout) {
  const group = svg('g', {class: 'lane-text'});
  if (layout.wide) {
    group.append(
        svg('text', {x: 0, y: layout.line + (layout.states ? -3 : 4), class: 'name'},
            clipped(path.name, Math.floor(layout.left / 8.2))));
    if (layout.states)
      group.append(
          svg('text', {x: 0, y: layout.line + 12, class: 'state'},
              clipped(stateText(path), Math.floor(layout.left / 6.4))));
    return group;
  }
  const name = clipped(path.name, 24);
  group.append(
      svg('text', {x: layout.left, y: 18, class: 'name'}, name,
          svg('tspan', {class: 'state', dx: 8}, clipped(stateText(path), 44 - name.length))));
  return group;
}

// What was made and given up again lies below the lane.
function drawGivenUp(path, x, y, group) {
  for (const start of path.starts.filter((each) => each.given_up)) {
    const [, first, last] = start.given_up;
    group.append(svg('line', {
      x1: x(first - 1),
      x2: Math.max(x(last), x(first - 1) + 2),
      y1: y + 7,
      y2: y + 7,
      class: 'given-up'
    }));
  }
}

function drawLane(path, place, x, y) {
  const group = svg('g', {class: `lane c${colourOf(place)}`});
  const [begin, end] = spanOf(path);
  if (path.kind === 'average') {
    for (const step of path.members ?? [])
      group.append(svg('line', {x1: x(step), x2: x(step), y1: y - 4, y2: y + 4, class: 'member'}));
    if ((path.members ?? []).length > 1)
      group.append(
          svg('line', {x1: x(path.members[0]), x2: x(end), y1: y, y2: y, class: 'member'}));
    group.append(shapes.diamond(x(end), y, 5));
    return group;
  }
  if (path.kind === 'imported') {
    group.append(shapes.diamond(x(end), y, 5));
    return group;
  }
  if (path.end > end)
    group.append(svg('line', {x1: x(end), x2: x(path.end), y1: y, y2: y, class: 'planned'}));
  if (end > begin)
    group.append(svg('line', {x1: x(begin), x2: x(end), y1: y, y2: y, class: 'done'}));
  for (const start of path.starts.slice(1))
    group.append(
        svg('line', {x1: x(start.step), x2: x(start.step), y1: y - 5, y2: y + 5, class: 'start'}));
  drawGivenUp(path, x, y, group);
  const end_sign =
      path.state === 'running' ? shapes.triangle(0, 0, 5) : shapes.circle(x(end), y, 4.5);
  if (path.state === 'running')
    end_sign.setAttribute('transform', `translate(${x(end)} ${y}) rotate(90)`);
  if (path.state === 'waiting' || path.state === 'new' || path.state === 'damaged')
    end_sign.setAttribute('class', 'hollow');
  group.append(end_sign);
  return group;
}

// From the parent's lane down to the child's.
function drawFork(path, place, x, y, parentY) {
  const [begin] = spanOf(path);
  const waiting = path.state === 'waiting' ? ' waiting' : '';
  return svg(
      'path', {d: `M${x(begin)} ${parentY}V${y}`, class: `fork c${colourOf(place)}${waiting}`});
}

function laneTip(path) {
  const parts = [path.name];
  if (path.imported)
    parts.push(`begins with published weights: ${path.imported}`);
  else if (path.origin && path.kind === 'path')
    parts.push(`forks from ${path.origin} at step ${showCount(path.fork)}`);
  parts.push(stateText(path));
  if (isKnown(path.loss)) parts.push(`loss ${showLoss(path.loss)}`);
  if (path.starts.length > 1) parts.push(`${path.starts.length} starts`);
  return parts;
}
