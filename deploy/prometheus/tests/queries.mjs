// Every query of a dashboard as Prometheus gets it from Grafana, with its variables put in. For the tests
// and for picture.mjs.

export function queries(dashboard, rateInterval, variables = {}) {
  const values = Object.fromEntries(dashboard.templating.list.map(({ name, allValue }) => [name, allValue]));
  const put = (expr) =>
    expr.replaceAll('$__rate_interval', rateInterval).replace(/\$(\w+)/g, (_, name) => {
      const value = variables[name] ?? values[name];
      if (value === undefined) throw new Error(`${dashboard.uid}: unknown variable $${name} in ${expr}`);
      return value;
    });
  return dashboard.panels.flatMap((panel) =>
    (panel.targets ?? []).map((target) => ({ panel, target, title: panel.title, expr: put(target.expr) })),
  );
}
