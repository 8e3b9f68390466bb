// Orders are for who says which customer they are; the shop sees the number checked.
export default async ({ params }) => {
  const customer = params.headers["x-customer"];
  if (!/^\d{1,9}$/.test(customer ?? "")) {
    return { statusCode: 403, body: { error: "say in X-Customer who you are" } };
  }
  return { headers: { set: { "x-checked-customer": customer } } };
};
