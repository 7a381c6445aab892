// Tables: on a narrow screen a row becomes a card, its cells named by their columns.

// columns: [{name, number, cell(row)}]; a cell is a text, or an element.
function makeTable(caption, columns, rows, attributes = {}) {
  const head =
      el('tr', {},
         ...columns.map(
             (column) =>
                 el('th', {scope: 'col', class: column.number ? 'number' : null}, column.name)));
  const body = rows.map(
      (row) => el('tr', {class: row.group ? 'group' : null}, ...columns.map((column, i) => {
        const cell = column.cell(row);
        return el(
            i === 0 ? 'th' : 'td', {
              scope: i === 0 ? 'row' : null,
              class: column.number ? 'number' : null,
              'data-name': column.name
            },
            cell);
      })));
  return el(
      'table', {class: 'cards', ...attributes}, caption ? el('caption', {}, caption) : null,
      el('thead', {}, head), el('tbody', {}, ...body));
}

// About twenty values of each line, its last among them; all of them are in the tables of --csv.
function seriesTable(what, lines, show) {
  const rows = [];
  for (const line of lines.filter((each) => each.read && each.look !== 'faint')) {
    const places =
        line.xs.map((_, i) => i).filter((i) => isKnown(line.ys[i]) && inSteps(line.xs[i]));
    const every = Math.max(1, Math.ceil(places.length / 20));
    places.filter((_, i) => (places.length - 1 - i) % every === 0)
        .forEach((i) => rows.push({line, i}));
  }
  const columns = [
    {name: 'Path', cell: ({line}) => line.name},
    {name: 'Value', cell: ({line}) => line.what},
    {name: 'Step', number: true, cell: ({line, i}) => showCount(line.xs[i])},
    {name: what, number: true, cell: ({line, i}) => show(line.ys[i])},
  ];
  return el(
      'div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `Values: ${what}`},
      makeTable('', columns, rows, {class: 'plain'}));
}

function originText(path) {
  if (path.kind === 'imported')
    return path.members ? `mean of ${membersText(path)}` : 'published weights';
  if (path.imported) return `published weights: ${path.imported}`;
  if (path.kind === 'average')
    return `mean of ${membersText(path)}${path.origin ? ` of ${path.origin}` : ''}`;
  if (path.origin) return `${path.origin} at ${showCount(path.fork)}`;
  return path.fork > 0 ? `step ${showCount(path.fork)} of a path elsewhere` : 'random start';
}

function pathsTable() {
  const columns = [
    {name: 'Path', cell: (path) => path.name},
    {name: 'From', cell: (path) => (path.state === 'damaged' ? unknown : originText(path))},
    {
      name: 'State',
      cell: (path) =>
          (path.state === 'damaged' ? `cannot be read: ${path.problem}` :
                                      `${stateSigns[path.state] ?? ''} ${path.state}`)
    },
    {
      name: 'Step',
      number: true,
      cell: (path) => (['waiting', 'damaged'].includes(path.state) ? unknown : showCount(path.step))
    },
    {
      name: 'Ends at',
      number: true,
      cell: (path) => (path.end > 0 && path.kind === 'path' ? showCount(path.end) : unknown)
    },
    {name: 'Loss', number: true, cell: (path) => showLoss(path.loss)},
  ];
  return makeTable('', columns, treeOrder().map((place) => data.paths[place]));
}

function givenUpText(start) {
  if (!start.given_up) return unknown;
  const [steps, first, last] = start.given_up;
  return `${showCount(steps)} (${
      first === last ? showCount(first) : `${showCount(first)}–${showCount(last)}`})`;
}

function startsTable() {
  const rows = data.paths.flatMap((path) => path.starts.map((start) => ({path, start})));
  const columns = [
    {name: 'Path, start', cell: ({path, start}) => `${path.name}, ${start.number}`},
    {name: 'Began', cell: ({start}) => start.time.replace('T', ' ').replace('Z', '') || unknown},
    {name: 'Behind step', number: true, cell: ({start}) => showCount(start.step)},
    {
      name: 'Steps kept',
      number: true,
      cell: ({start}) =>
          (start.steps > 0 ? `${showCount(start.first)}–${showCount(start.last)}` : unknown)
    },
    {name: 'Given up', number: true, cell: ({start}) => givenUpText(start)},
    {name: 'Time in steps', number: true, cell: ({start}) => showSeconds(start.seconds)},
    {name: 'Layout', cell: ({start}) => start.layout || unknown},
    {name: 'Device', cell: ({start}) => start.device || unknown},
    {name: 'Version', cell: ({start}) => start.version || unknown},
  ];
  return makeTable('', columns, rows);
}
