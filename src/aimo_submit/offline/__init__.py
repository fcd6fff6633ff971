"""What happens at home: problem sets, evaluation, tuning."""
