// Adds, subtracts, multiplies or divides two numbers.
const operations = {
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => {
    if (b === 0) throw new RangeError('division by zero');
    return a / b;
  },
};

module.exports = async ({ params }) => {
  const { operation, a, b } = params ?? {};
  if (!Object.hasOwn(operations, operation)) {
    throw new TypeError(`operation must be one of ${Object.keys(operations).join(', ')}`);
  }
  if (!Number.isFinite(a) || !Number.isFinite(b)) {
    throw new TypeError('a and b must be finite numbers');
  }
  const result = operations[operation](a, b);
  if (!Number.isFinite(result)) throw new RangeError('the result is too large for a number');
  return { operation, a, b, result };
};
