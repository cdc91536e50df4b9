/**
 * Messages written once: a JSON schema that carries its TypeScript type. The functions here build plain JSON schema
 * (the subset that draft-07 and 2020-12 share), and `Static` reads the type back:
 *
 *   const PING = object("A question", { id: integer("Its number"), note: optional(text("Whatever")) });
 *   type Ping = Static<typeof PING>;        // { id: number; note?: string }
 */

/** A JSON schema for values of type T. The type is carried by a property that never exists at run time. */
export interface Schema<T> {
  readonly [keyword: string]: unknown;
  readonly [CARRIED]?: T;
}

declare const CARRIED: unique symbol;

/** A property that may be left out. */
export interface Optional<T> {
  readonly optional: Schema<T>;
}

export type Static<S> = S extends Schema<infer T> ? T : never;

type Property = Schema<unknown> | Optional<unknown>;
type Properties = Readonly<Record<string, Property>>;
type Shape<P extends Properties> = {
  [K in keyof P as P[K] extends Optional<unknown> ? never : K]: P[K] extends Schema<infer T> ? T : never;
} & {
  [K in keyof P as P[K] extends Optional<unknown> ? K : never]?: P[K] extends Optional<infer T> ? T : never;
};
type Flat<T> = { [K in keyof T]: T[K] };

const isOptional = (property: Property): property is Optional<unknown> => "optional" in property;

export function text(description: string): Schema<string> {
  return { type: "string", description };
}

/** A whole number from 0. */
export function integer(description: string): Schema<number> {
  return { type: "integer", minimum: 0, description };
}

export function flag(description: string): Schema<boolean> {
  return { type: "boolean", description };
}

export function oneOf<const T extends string>(description: string, values: readonly T[]): Schema<T> {
  return { type: "string", enum: values, description };
}

export function list<T>(description: string, items: Schema<T>): Schema<T[]> {
  return { type: "array", items, description };
}

/** An object with any keys and values of one kind. */
export function map<T>(description: string, values: Schema<T>): Schema<Record<string, T>> {
  return { type: "object", additionalProperties: values, description };
}

export function object<const P extends Properties>(
  description: string,
  properties: P,
): Schema<Flat<Shape<P>>> {
  const entries = Object.entries(properties);
  return {
    type: "object",
    description,
    required: entries.filter(([, property]) => !isOptional(property)).map(([name]) => name),
    additionalProperties: false,
    properties: Object.fromEntries(
      entries.map(([name, property]) => [name, isOptional(property) ? property.optional : property]),
    ),
  };
}

export function optional<T>(schema: Schema<T>): Optional<T> {
  return { optional: schema };
}

export function nullable<T>(schema: Schema<T>): Schema<T | null> {
  return { anyOf: [schema, { type: "null" }] };
}

export function anyOf<T extends readonly Schema<unknown>[]>(
  description: string,
  ...schemas: T
): Schema<Static<T[number]>> {
  return { description, anyOf: schemas };
}

/** An object whose inside is described elsewhere: the document by schema/, tables and plans by their own types. */
export function described<T>(description: string): Schema<T> {
  return { type: "object", description };
}
