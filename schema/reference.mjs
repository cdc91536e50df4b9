/** Markdown for people, from the schema and the error catalogue. */

const escapeCell = (text) => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const code = (value) => `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;

/** The schema that a reference stands for, with the referring schema's own words before it. */
function resolve(schema, node) {
  if (node.$ref === undefined) return node;
  const { $ref, ...own } = node;
  return { ...schema.$defs[$ref.slice("#/$defs/".length)], ...own };
}

function describeKind(node) {
  const range = (unit) => (node.minimum === undefined ? unit : `${unit}, ${node.minimum} to ${node.maximum}`);
  if (node.const !== undefined) return code(node.const);
  if (node.enum !== undefined) return node.enum.map(code).join(", ");
  if (["Size", "Duration", "Delay"].includes(node.title)) return node.title.toLowerCase();
  if (node.title === "Members") return `list of 1 to ${node.maxItems} layers`;
  if (node.title === "Path") return "path";
  if (node.title === "Name") return "name";
  if (node.type === "array") return "list";
  if (Array.isArray(node.type))
    return node.type.map((type) => (type === "string" ? "text" : type)).join(" or ");
  if (node.type === "integer") return range("whole number");
  if (node.type === "boolean") return "`true`, `false`";
  if (node.type === "string") return "text";
  return "mapping";
}

function describeDefault(node, required) {
  if (required) return "required";
  if (node.default === undefined || typeof node.default === "object") return "";
  return code(node.default);
}

function renderTable(schema, node) {
  const rows = Object.entries(node.properties).map(([key, property]) => {
    const resolved = resolve(schema, property);
    const required = (node.required ?? []).includes(key);
    const cells = [
      code(key),
      describeKind(resolved),
      describeDefault(resolved, required),
      resolved.description,
    ];
    return `| ${cells.map(escapeCell).join(" | ")} |`;
  });
  return ["| key | value | default | meaning |", "|---|---|---|---|", ...rows].join("\n");
}

/** The reference of the YAML. */
export function renderSpecReference(schema) {
  const { metadata, spec } = schema.properties;
  const types = Object.keys(schema.$defs.layer.properties).filter((key) => key !== "readOnly");
  const parts = [
    "# The stack file",
    "Generated from schema/ by `npm run generate`.",
    `${schema.description} A file may hold several documents, divided by \`---\`. The YAML is version 1.2: only \`true\` and \`false\` are booleans. Unknown keys are refused.`,
    `A **size** is ${schema.$defs.size.errorMessage}. A **name** is ${schema.$defs.name.errorMessage}. A **path** is absolute or relative to the folder of the file. A **duration** is ${schema.$defs.duration.errorMessage}; a **delay** is ${schema.$defs.delay.errorMessage}.`,
    "## Document",
    renderTable(schema, schema),
    "## metadata",
    renderTable(schema, metadata),
    "## spec",
    renderTable(schema, spec),
    "## spec.layers.NAME",
    schema.$defs.layer.description,
    schema.$defs.member.description,
    "A writable layer feeds one parent at most, a read-only one any number. From an export down to a leaf there are at most 8 levels, both counted.",
    renderTable(schema, schema.$defs.layer),
    ...types.flatMap((type) => {
      const layer = schema.$defs[`${type}Layer`];
      const example = JSON.stringify(layer.examples[0])
        .replaceAll(/"([a-zA-Z]+)":/g, "$1: ")
        .replaceAll(/,(?=\S)/g, ", ")
        .replaceAll(/[{}]/g, (brace) => (brace === "{" ? "{ " : " }"))
        .replaceAll('"', "");
      return [
        `### ${type}`,
        layer.description,
        `\`\`\`yaml\nNAME: { ${type}: ${example} }\n\`\`\``,
        renderTable(schema, layer),
      ];
    }),
    "## spec.exports.NAME",
    schema.$defs.export.description,
    renderTable(schema, schema.$defs.export),
    "## spec.exports.NAME.ublk",
    schema.$defs.ublk.description,
    renderTable(schema, schema.$defs.ublk),
    "## spec.nbd",
    schema.$defs.nbd.description,
    renderTable(schema, schema.$defs.nbd),
  ];
  return `${parts.join("\n\n")}\n`;
}

/** The reference of the error codes. */
export function renderErrorReference(groups) {
  const parts = [
    "# Error codes",
    "Generated from src/errors.ts by `npm run generate`.",
    "Every message ends with its code in brackets. Codes are stable: programs may rely on them. With *exit* 2 the invocation or the file was at fault and nothing was changed; with 1 something failed on the way. A warning never changes the exit code.",
  ];
  for (const [group, entries] of Object.entries(groups)) {
    parts.push(`## ${group}`);
    parts.push(
      [
        "| code | what happened | what to do | exit |",
        "|---|---|---|---|",
        ...Object.entries(entries).map(
          ([name, { title, cure, exit }]) =>
            `| \`${name}\` | ${escapeCell(title)} | ${escapeCell(cure)} | ${exit} |`,
        ),
      ].join("\n"),
    );
  }
  return `${parts.join("\n\n")}\n`;
}
