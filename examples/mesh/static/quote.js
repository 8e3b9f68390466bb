// What an item costs, by its number in the path.
export default async ({ context }) => {
  const item = Number(context.http.path.slice(1));
  const vat = context.http.query.vat !== "no";
  return { item, cents: Math.round(item * 100 * (vat ? 1.19 : 1)) };
};
